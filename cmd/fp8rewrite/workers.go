package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/calibrate/mpi"
)

// workers are the processes that mpirun or srun started; the zero value is this one alone.
type workers struct{ mpi *mpi.Group }

// joinWorkers makes this process part of its job, if a launcher started it as one of several.
func joinWorkers() (workers, error) {
	g, err := mpi.Join()
	if err != nil {
		return workers{}, hint(err, "set FP8REWRITE_MPI_LIB to the MPI library of the launcher, or run one process without the launcher")
	}
	return workers{g}, nil
}

func (w workers) rank() int {
	if w.mpi == nil {
		return 0
	}
	return w.mpi.Rank()
}

func (w workers) size() int {
	if w.mpi == nil {
		return 1
	}
	return w.mpi.Size()
}

// group is the workers as calibrate sees them, nil for one process.
func (w workers) group() calibrate.Group {
	if w.mpi == nil {
		return nil
	}
	return w.mpi
}

// speak is where this process writes: the first one alone does, and as if to no terminal, since launchers give their processes one
// whatever their own output is.
func (w workers) speak(stdout, stderr io.Writer, quiet *bool) (io.Writer, io.Writer) {
	switch {
	case w.rank() > 0:
		*quiet = true
		return io.Discard, io.Discard
	case w.size() > 1:
		return struct{ io.Writer }{stdout}, struct{ io.Writer }{stderr}
	}
	return stdout, stderr
}

// wait returns when all workers have come to it.
func (w workers) wait(ctx context.Context) error {
	if w.mpi == nil {
		return nil
	}
	return w.mpi.Barrier(ctx)
}

// patienceWithFirst is how long the other ranks give the first one to say what is wrong: mostly it is the same for all.
const patienceWithFirst = 3 * time.Second

// leave ends the work of this process: in order, or, where it failed, with the whole job, since the others would wait for it for ever.
// A rank that the launcher ends meanwhile, because another one failed, has nothing to say; the first one always does.
func (w workers) leave(ctx context.Context, err error) error {
	if w.mpi == nil {
		return err
	}
	if err == nil {
		return w.mpi.Close()
	}
	code := exitFailed
	if w.rank() == 0 {
		code = report(os.Stderr, err)
	} else {
		select {
		case <-ctx.Done():
		case <-time.After(patienceWithFirst):
			code = report(os.Stderr, err)
		}
	}
	w.mpi.Abort(code)
	return err
}
