package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// wrongFlag is the usage error for what pflag says, with the nearest flag or what the flag is for.
func wrongFlag(cmd *cobra.Command, err error) error {
	list := fmt.Sprintf("%s --help lists the flags", cmd.CommandPath())
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest(unknown.GetSpecifiedName(), names, ""); near != "" && unknown.GetSpecifiedShortnames() == "" {
			list = fmt.Sprintf("--%s, or %s", near, list)
		}
		return hint(usageError{err}, "%s", list)
	}
	var missing *pflag.ValueRequiredError
	if errors.As(err, &missing) {
		f := missing.GetFlag()
		return hint(usagef("--%s: value is missing", f.Name), "--%s: %s", f.Name, f.Usage)
	}
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		f := invalid.GetFlag()
		want := "a whole number"
		switch f.Value.Type() {
		case "bool":
			want = "true or false"
		case "float64":
			want = "a number"
		}
		return hint(usagef("--%s: got %q, want %s", f.Name, invalid.GetValue(), want), "--%s: %s", f.Name, f.Usage)
	}
	return hint(usageError{err}, "%s", list)
}

// nearest is the name closest to what was typed, or otherwise where none is close.
func nearest(typed string, names []string, otherwise string) string {
	typed = strings.ToLower(typed)
	best, least := otherwise, 2+len(typed)/3 // one more than may be wrong
	for _, n := range names {
		d := distance(typed, n)
		if d >= least && len(typed) >= 3 && strings.HasPrefix(n, typed) {
			d = least - 1
		}
		if d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the least number of single bytes to insert, delete, replace or swap with their neighbour that turns a into b (optimal
// string alignment).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
