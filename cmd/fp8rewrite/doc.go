// Command fp8rewrite rewrites serialized models into their float8 form.
//
// Each command is one file. A command parses its flags into an options struct, opens the model, calls the stages in order and
// writes the results; it computes nothing itself. stdout carries the result and stderr everything else; the exit codes stand in
// exit.go.
package main
