//go:build linux || darwin

package main

import (
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"syscall"
)

// peak runs a program, FILE PROGRAM ARG..., and writes into FILE how many bytes of memory it took at most. Linux counts for a process
// what its parent held when it was started, so the parent must be small, which a test beside many others is not.
func peak() {
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		panic(err)
	}
	most := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if goruntime.GOOS == "linux" {
		most <<= 10 // from KiB
	}
	if err := os.WriteFile(os.Args[1], fmt.Append(nil, most), 0o666); err != nil {
		panic(err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}
