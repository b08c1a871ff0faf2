package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestReportSaysWhatWentWrongAndGivesTheStatus(t *testing.T) {
	interrupt := func() error { // as a signal does it
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return fmt.Errorf("out.onnx: %w", context.Cause(ctx))
	}()
	for _, c := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"nothing", nil, 0, ""},
		{"a failure", errors.New("a: b"), 1, "fp8rewrite: a: b\n"},
		{"wrong usage with advice", hint(usagef("no"), "yes %d", 1), 2, "fp8rewrite: no\nhint: yes 1\n"},
		{"a failure with advice, wrapped", fmt.Errorf("c: %w", hint(errors.New("no"), "yes")), 1, "fp8rewrite: c: no\nhint: yes\n"},
		{"an interrupt", interrupt, 130, "fp8rewrite: interrupted; nothing was written\n"},
		{"an interrupt after the model was written", written{"out.onnx", interrupt}, 130,
			"fp8rewrite: interrupted; out.onnx is written, its report is not\n"},
		{"an interrupt that can be gone on from", resumable{"out.onnx.resume", interrupt}, 130,
			"fp8rewrite: interrupted; out.onnx.resume holds what was done so far\nhint: the same command with --resume goes on from there\n"},
		{"a gate that is not met", gateError{[]string{"a", "b"}}, 3, "fp8rewrite: gate not met: a; b\n"},
		{"a failure after the model was written", written{"out.onnx", errors.New("r.json: no")}, 1,
			"fp8rewrite: out.onnx is written, its report is not: r.json: no\n"},
		{"several lines", errors.Join(errors.New("a"), errors.New("b\n")), 1, "fp8rewrite: a; b\n"},
		{"what would steer a terminal", errors.New("a\x1b[2Jb\rc\u00a0d"), 1, "fp8rewrite: a\\x1b[2Jb\\rc d\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if code := report(&b, c.err); code != c.code || b.String() != c.want {
				t.Errorf("got %d and %q, want %d and %q", code, b.String(), c.code, c.want)
			}
		})
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"model.onnx": "model.onnx", `C:\models\a.onnx`: `C:\models\a.onnx`, "ä/b": "ä/b",
		"a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$HOME": "'$HOME'", "a;b": "'a;b'", "*": "'*'", "~": "'~'",
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"convert", "inspect", "version", "completion", "help"}
	for typed, want := range map[string]string{
		"convret": "convert", "CONVERT": "convert", "conv": "convert", "inspct": "inspect", "comp": "completion", "hepl": "help",
		"x": "", "frobnicate": "", "converter": "convert", "": "",
	} {
		if got := nearest(typed, names, ""); got != want {
			t.Errorf("nearest(%q) = %q, want %q", typed, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
