// Package layout holds operators that move data without computing on it: shapes, slices, gathers, sequences, strings, for the CPU engine.
package layout
