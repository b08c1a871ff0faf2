// Package mpi joins the processes that mpirun or srun started into one group, through the MPI library that the machine has.
//
// It knows how launchers tell a process that it is one of several, which libraries carry MPI and where they lie, how two families of
// them (Open MPI; MPICH and its relatives) spell the handles that a C header would hide, and how a job ends when one of its processes
// cannot go on. It refuses to know what is reduced: a [Group] has the verbs that calibrate asks for and a few more. internal/dynlib
// comes before it; a command hands the group to calibrate.
//
// The library is opened while the program runs. A program that was not started by a launcher never looks for it.
//
// # Threads
//
// MPI is initialized for calls from one thread, so all of them are made by one goroutine that is locked to its thread; the verbs may be
// called from any goroutine, one at a time. A call that waits for other ranks cannot be taken back: when its context ends, the verb
// returns, and the group can only be aborted.
package mpi
