package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// The exit codes. docs/REPORT.md documents them for users. Whatever is wrong with flags and arguments as such is wrong usage;
// whatever is wrong with files, be it that two names are one file, is a failure.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitGate        = 3
	exitInterrupted = 130
)

// usageError is a wrong call: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hinted is an error with advice on what to do, a command where it can be.
type hinted struct {
	err  error
	hint string
}

func (e hinted) Error() string { return e.err.Error() }
func (e hinted) Unwrap() error { return e.err }

func hint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}

// written is an error that came when the model what had its name already, so that the model is whole and only its report is not.
type written struct {
	what string
	err  error
}

func (e written) Error() string { return e.what + " is written, its report is not: " + e.err.Error() }
func (e written) Unwrap() error { return e.err }

// resumable is the end of a run that the file checkpoint lets go on.
type resumable struct {
	checkpoint string
	err        error
}

func (e resumable) Error() string { return e.err.Error() }
func (e resumable) Unwrap() error { return e.err }

// failure is what a run ended with, in the form of --json-errors.
type failure struct {
	Error  string `json:"error"`
	Hint   string `json:"hint"` // "" where there is none
	Status int    `json:"exit_status"`
}

// explain says what went wrong; err is not nil.
func explain(err error) failure {
	// The cause that a signal gives a context is context.Canceled as well.
	if errors.Is(err, context.Canceled) {
		state := "nothing was written"
		if late := (written{}); errors.As(err, &late) {
			state = late.what + " is written, its report is not"
		}
		f := failure{Status: exitInterrupted}
		early := resumable{}
		if errors.As(err, &early) {
			state = early.checkpoint + " holds what was done so far"
		}
		if early.err != nil {
			f.Hint = "the same command with --resume goes on from there"
		}
		f.Error = "interrupted; " + oneLine(state)
		return f
	}
	f := failure{Error: oneLine(err.Error()), Status: exitFailed}
	if h := (hinted{}); errors.As(err, &h) {
		f.Hint = oneLine(h.hint)
	}
	switch {
	case errors.As(err, new(usageError)):
		f.Status = exitUsage
	case errors.As(err, new(gateError)):
		f.Status = exitGate
	}
	return f
}

// report says on w what went wrong, and gives the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	f := explain(err)
	fmt.Fprintf(w, "fp8rewrite: %s\n", f.Error)
	if f.Hint != "" {
		fmt.Fprintf(w, "hint: %s\n", f.Hint)
	}
	return f.Status
}

// reportJSON says the same as one line of JSON.
func reportJSON(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	f := explain(err)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if e.Encode(f) != nil { // what cannot be written cannot be said either
		return exitFailed
	}
	return f.Status
}

// jsonErrors is the flag that asks for errors as JSON. Every command has it.
const jsonErrors = "json-errors"

// wantsJSONErrors looks for the flag itself, since the error may be that of another flag before it. The last one counts.
func wantsJSONErrors(args []string) bool {
	wants := false
	for _, a := range args {
		if a == "--" {
			break
		}
		name, value, given := strings.Cut(a, "=")
		if name != "--"+jsonErrors {
			continue
		}
		if !given {
			wants = true
		} else if b, err := strconv.ParseBool(value); err == nil {
			wants = b
		}
	}
	return wants
}

// oneLine joins the lines of a message that holds several reasons, so that one error is one line, and spells out what would steer a
// terminal: file names may hold anything.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case unicode.Is(unicode.Zs, r): // protobuf's messages have no-break spaces in some builds
			b.WriteByte(' ')
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// shellWord is s as one word of a shell's command line.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(`_-./\:@%+=,`, r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
