//go:build darwin

package main

import "testing"

func (p program) system(t *testing.T) {
	t.Skip("SKIPPED: full disks and terminals are made by Linux's tmpfs and ptmx, which are not here")
}

// scratch is a folder for large files.
func scratch(t *testing.T) string { return t.TempDir() }

func (c *calibrationRun) system(t *testing.T) {
	t.Skip("SKIPPED: full disks and terminals are made by Linux's tmpfs and ptmx, which are not here")
}

// children and rankOf tell the processes of a job apart, which takes Linux's /proc.
func children(*testing.T, int) []int { return nil }

func rankOf(int) string { return "" }
