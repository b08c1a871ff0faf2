package main

import (
	"fmt"
	"strconv"
	"strings"
)

// fingerprint is everything that a checkpoint must have in common with the run that goes on from it, by what a user calls it.
type fingerprint []struct{ name, value string }

// String is a line for each part.
func (f fingerprint) String() string {
	var b strings.Builder
	for _, part := range f {
		fmt.Fprintf(&b, "%s=%s\n", part.name, strconv.Quote(part.value))
	}
	return b.String()
}

// differing says in what the fingerprint of a checkpoint is not that of a run, "" where they are the same. Digests are left out: no reader
// has a use for them.
func differing(checkpoint, run string) string {
	if checkpoint == run {
		return ""
	}
	read := func(s string) (names []string, values map[string]string) {
		values = map[string]string{}
		for line := range strings.Lines(s) {
			if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
				names, values[name] = append(names, name), value
			}
		}
		return names, values
	}
	_, had := read(checkpoint)
	names, has := read(run)
	var out []string
	for _, name := range names {
		before, there := had[name]
		switch now := has[name]; {
		case !there:
			return "another version of this program made it"
		case before != now && len(before) <= shortValue && len(now) <= shortValue && !strings.Contains(now, "xxh64:"):
			out = append(out, fmt.Sprintf("%s was %s and is %s", name, unquote(before), unquote(now)))
		case before != now:
			out = append(out, name+" is another")
		}
	}
	if len(out) == 0 {
		return "another version of this program made it"
	}
	return strings.Join(out, ", ")
}

// shortValue is the length of a value, with its quotes, up to which a message shows it.
const shortValue = 40

func unquote(s string) string {
	if text, err := strconv.Unquote(s); err == nil && text != "" {
		return text
	}
	return s
}
