package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestTheOldFileStaysUntilCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	write(t, path, "old")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	if _, err := f.Write([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" || f.Renamed() {
		t.Errorf("before Commit: %q", b)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	if b, _ := os.ReadFile(path); string(b) != "new" || !f.Renamed() {
		t.Errorf("after Commit: %q", b)
	}
	if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want that of the old file", info.Mode())
	}
	if got := names(t, dir); got != "a" {
		t.Errorf("folder holds %q", got)
	}
}

func TestDiscardLeavesNothing(t *testing.T) {
	for _, synced := range []bool{false, true} {
		dir := t.TempDir()
		f, err := Create(filepath.Join(dir, "a"))
		if err != nil {
			t.Fatal(err)
		}
		if synced {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		if got := names(t, dir); !strings.HasPrefix(got, ".fp8rewrite-") || !strings.HasSuffix(got, ".tmp") {
			t.Errorf("temporary file is called %q", got)
		}
		f.Discard()
		f.Discard()
		if got := names(t, dir); got != "" || f.Renamed() {
			t.Errorf("folder holds %q", got)
		}
	}
}

func TestCommitAsAnotherName(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.CommitAs(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != "b" {
		t.Errorf("folder holds %q, want b", got)
	}
}

func TestTargetsThatCannotBeWrittenAreNamed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "x")
	for name, c := range map[string]struct{ path, want string }{
		"no name":               {"", "no output file named"},
		"a folder":              {dir, "is a folder"},
		"no such folder":        {filepath.Join(dir, "none", "a"), "folder: "},
		"folder that is a file": {filepath.Join(file, "a"), "file"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Probe(c.path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
	t.Run("a device", func(t *testing.T) {
		if _, err := os.Stat("/dev/null"); err != nil {
			t.Skip("no /dev/null here")
		}
		if err := Probe("/dev/null"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a link", func(t *testing.T) {
		link := filepath.Join(dir, "link")
		if err := os.Symlink(file, link); err != nil {
			t.Skip("no symbolic links here: ", err)
		}
		if err := Probe(link); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a folder that is read-only", func(t *testing.T) {
		if runtime.GOOS == "windows" || os.Getuid() == 0 {
			t.Skip("this user, root most likely, may write everywhere: needs one who may not")
		}
		ro := filepath.Join(dir, "ro")
		if err := os.Mkdir(ro, 0o500); err != nil {
			t.Fatal(err)
		}
		if err := Probe(filepath.Join(ro, "a")); err == nil || !strings.Contains(err.Error(), "folder is not writable") {
			t.Errorf("got %v", err)
		}
	})
	if err := Probe(file); err != nil {
		t.Errorf("a file that is there: %v", err)
	}
	if got := names(t, dir); strings.Contains(got, "tmp") {
		t.Errorf("Probe left %q", got)
	}
}

func TestAFullDiskSaysWhatIsNeeded(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	if err := f.Reserve(12345); err != nil {
		t.Skip("this disk is full indeed: ", err)
	}
	err = f.explain(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	if full(syscall.ENOSPC) && (!errors.Is(err, syscall.ENOSPC) || !strings.HasSuffix(err.Error(), "a: no space left on device: need 12345 bytes")) {
		t.Errorf("got %v", err)
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux is asked for the free space beforehand")
	}
	if err := f.Reserve(1 << 62); err == nil || !strings.Contains(err.Error(), "need 4611686018427387904 bytes") {
		t.Errorf("got %v", err)
	}
	if err := f.Reserve(1); err != nil {
		t.Errorf("one byte: %v", err)
	}
}

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	a, b, link := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "link")
	write(t, a, "x")
	write(t, b, "x")
	none := filepath.Join(dir, "none")
	for _, c := range []struct {
		x, y string
		want bool
	}{{a, a, true}, {a, b, false}, {a, dir + "/../" + filepath.Base(dir) + "/a", true}, {a, none, false}, {none, none, true}} {
		if got := SameFile(c.x, c.y); got != c.want {
			t.Errorf("%s and %s: got %v", c.x, c.y, got)
		}
	}
	if err := os.Link(a, link); err == nil && !SameFile(a, link) {
		t.Error("a hard link is another file")
	}
}
