//go:build !linux

package mpi

// keepSignals does nothing: the layers that replace handlers exist on Linux alone.
func keepSignals() (restore func()) { return func() {} }
