package samples

import (
	"fmt"
	"strings"
)

// Finite is FitError.Want where an element is Inf or NaN, which Options.AllowNonFinite would let through.
const Finite = "finite numbers"

// FitError says that data does not fit an input of the model.
type FitError struct {
	Input     string // of the model
	Array     string // that feeds it; "" where it has no name
	File      string
	Got, Want string
}

// Error names input, array, got and want.
func (e *FitError) Error() string {
	from := ""
	if e.Array != "" {
		from = fmt.Sprintf(" (array %q of %s)", e.Array, e.File)
	} else if e.File != "" {
		from = fmt.Sprintf(" (%s)", e.File)
	}
	return fmt.Sprintf("input %q%s: got %s, want %s", e.Input, from, e.Got, e.Want)
}

// NoArrayError says that no array feeds an input.
type NoArrayError struct {
	Input    string   // of the model; "" where an array was asked for by its own name
	Array    string   // the name that was looked for
	Path     string   // the data
	Have     []string // the arrays that are there, with type and shape
	Prefixes []string // prefixes with which every input would find an array
}

// Error lists what there is and which prefix would do.
func (e *NoArrayError) Error() string {
	var b strings.Builder
	if e.Input != "" {
		fmt.Fprintf(&b, "input %q: ", e.Input)
	}
	fmt.Fprintf(&b, "no array %q in %s", e.Array, e.Path)
	if len(e.Have) == 0 {
		b.WriteString(", which has no arrays")
	} else {
		const most = 8
		fmt.Fprintf(&b, ", which has %s", strings.Join(e.Have[:min(most, len(e.Have))], ", "))
		if len(e.Have) > most {
			fmt.Fprintf(&b, " and %d more", len(e.Have)-most)
		}
	}
	if len(e.Prefixes) > 0 {
		fmt.Fprintf(&b, "; with the prefix %q every input finds its array", e.Prefixes[0])
		for _, p := range e.Prefixes[1:] {
			fmt.Fprintf(&b, ", also with %q", p)
		}
	}
	return b.String()
}

// StepsError says that more steps were asked for than the data has.
type StepsError struct {
	Want, Have int
	Rows       int64 // per input; 0 where steps are not cut from rows
	BatchSize  int64
}

// Error gives the numbers.
func (e *StepsError) Error() string {
	if e.Rows == 0 {
		return fmt.Sprintf("%d steps are asked for, and the data has %d", e.Want, e.Have)
	}
	return fmt.Sprintf("%d steps are asked for, and %d rows make %d of batch size %d", e.Want, e.Rows, e.Have, e.BatchSize)
}
