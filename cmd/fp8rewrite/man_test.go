package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryCommandHasAManualPage(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "share", "man1")
	if code := run([]string{"man", dir}, nil, os.Stdout, os.Stderr); code != exitDone {
		t.Fatal(code)
	}
	root := newRoot()
	root.InitDefaultHelpCmd()
	for _, cmd := range below(root) {
		path := filepath.Join(dir, pageName(cmd)+".1")
		if cmd.Hidden {
			if _, err := os.Lstat(path); err == nil {
				t.Errorf("%s is hidden and has a page", cmd.CommandPath())
			}
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		text := string(b)
		last := -1
		for _, part := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH OPTIONS\n", "\\-\\-json\\-errors", ".SH EXIT STATUS\n0 done", ".SH EXAMPLES\n.nf\nfp8rewrite"} {
			at := strings.Index(text, part)
			if at <= last {
				t.Errorf("%s: %q is not where it belongs", path, part)
			}
			last = at
		}
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, ".") && !strings.HasPrefix(l, ".TH ") && !strings.HasPrefix(l, ".SH ") && !strings.HasPrefix(l, ".B ") && !strings.HasPrefix(l, ".BR ") &&
				l != ".TP\n" && l != ".ad l\n" && l != ".PP\n" && l != ".nf\n" && l != ".fi\n" || strings.HasPrefix(l, "'") {
				t.Errorf("%s: a request that is none: %q", path, l)
			}
		}
		if groff, err := exec.LookPath("groff"); err == nil {
			out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", path).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%s: groff says %v %s", path, err, out)
			}
		}
	}
	if roff(".x") != `\&.x` || roff(`a\b-c`) != `a\eb\-c` || roff("'x") != `\&'x` {
		t.Error("text becomes a request")
	}
}
