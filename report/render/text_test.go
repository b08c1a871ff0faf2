package render

import (
	"strings"
	"testing"
)

func TestNumbersReadWell(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 10 << 10: "10.0 KiB", 1023900: "999.9 KiB",
		1048524: "1.00 MiB", 3 << 30: "3.00 GiB", -2048: "-2.00 KiB", 1<<63 - 1: "8.00 EiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1204224: "1,204,224", -1234: "-1,234"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1.00 k", 9996: "10.0 k", 999_499: "999 k", 999_500: "1.00 M", 1_315_840: "1.32 M"} {
		if got := short(n); got != want {
			t.Errorf("short(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestNamesAreCutInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{
		{"short", 5, "short"},
		{"model.layers.0.q_proj", 11, "model…_proj"},
		{"abcdef", 4, "ab…f"},
		{"層層層層", 5, "層…層"},
		{"", 5, ""},
		{"abcdef", 0, "a…f"},
	} {
		if got := cut(c.in, c.limit); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func TestLinesWrapAtSpaces(t *testing.T) {
	if got, want := wrap("  one two three", 9, "    "), "  one two\n    three"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := wrap("one "+strings.Repeat("x", 20), 9, "  "), "one\n  "+strings.Repeat("x", 20); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzNamesFitAndHideNothing(f *testing.F) {
	f.Add("model.layers.0", 20)
	f.Add("\x1b[31m\u202e", 8)
	f.Fuzz(func(t *testing.T, name string, limit int) {
		limit = max(3, limit%200)
		got := safe(name, limit)
		if n := columns(got); n > limit {
			t.Errorf("safe(%q, %d) = %q takes %d columns", name, limit, got, n)
		}
		if text := visible(name, limit); columns(text) > limit || strings.ContainsFunc(text, hidden) {
			t.Errorf("visible(%q, %d) = %q", name, limit, text)
		}
		if strings.ContainsFunc(got, hidden) {
			t.Errorf("safe(%q, %d) = %q holds a hidden character", name, limit, got)
		}
	})
}
