//go:build darwin

package main

import "testing"

func (p program) system(t *testing.T) {
	t.Skip("SKIPPED: full disks and terminals are made by Linux's tmpfs and ptmx, which are not here")
}

// scratch is a folder for large files.
func scratch(t *testing.T) string { return t.TempDir() }
