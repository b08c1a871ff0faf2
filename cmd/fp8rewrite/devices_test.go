package main

import (
	"strings"
	"testing"
)

func TestALibraryThatWasOpenedIsNotMissing(t *testing.T) {
	t.Parallel()
	const why = "libcuda 13.0 (/opt/libcuda.so.1) lacks a function"
	l := library{Name: "libcuda", Path: "/opt/libcuda.so.1", Version: "13.0", Error: why, Looked: []string{"libcuda.so.1: found"}}
	var b strings.Builder
	l.write(&b)
	if want := "  libcuda cannot be used: " + why + "\n    libcuda.so.1: found\n"; b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}
