package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the release build (-ldflags "-X main.version=v1.2.3").
var version = ""

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the program: it parses args, does the work and returns the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	stdout := &output{Writer: out}
	root.SetOut(stdout)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = stdout.err // of help, which cobra prints
	}
	if wantsJSONErrors(args) {
		return reportJSON(errOut, err)
	}
	return report(errOut, err)
}

// endings are the signals that ask for an end: work stops, temporary files go.
func endings() []os.Signal {
	s := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup has it ignored
		s = append(s, syscall.SIGHUP)
	}
	return s
}
