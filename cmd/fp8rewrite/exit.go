package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The exit codes. docs/REPORT.md documents them for users.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
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

// report says on w what went wrong, and gives the exit code.
func report(w io.Writer, err error, interrupted bool) int {
	if err == nil {
		return exitDone
	}
	if interrupted || errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "fp8rewrite: interrupted; nothing was written")
		return exitInterrupted
	}
	fmt.Fprintf(w, "fp8rewrite: %s\n", oneLine(err.Error()))
	if h := (hinted{}); errors.As(err, &h) {
		fmt.Fprintf(w, "hint: %s\n", h.hint)
	}
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

// oneLine joins the lines of a message that holds several reasons, so that one error is one line.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }
