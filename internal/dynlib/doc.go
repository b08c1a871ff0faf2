// Package dynlib opens shared libraries while the program runs and calls their C functions, without cgo.
//
// It knows the operating system's loader. It refuses to know any library: which names are tried, and what the functions mean, is up
// to those who call. runtime/ort and calibrate/mpi come after it; nothing of this module before.
//
// On Linux a program with this package in it is linked against the system's loader, and so needs the C library that the machine has.
// The build tag nodl leaves the loader out, for a program that needs nothing at all: every Open then fails with [ErrBuiltWithout],
// as it does on platforms whose loader this package does not know.
package dynlib
