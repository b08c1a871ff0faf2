package atomicfile

import (
	"context"
	"errors"
	"path/filepath"
	"time"
)

// lockName is the file that stands for a folder's lock while somebody has it. The system lets go of the lock of a process that ends,
// however it ends: a file of this name that is left behind locks nothing.
const lockName = ".fp8rewrite.lock"

// errLocked says that somebody else has the lock.
var errLocked = errors.New("locked")

// Lock waits until this process alone works in dir, of all that call Lock, and gives the function that ends that. It is for the
// moment of renaming and removing, not for the long work before. An error is the context's cause, or that folders cannot be locked
// here: some file systems and systems know no locks.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
	path := filepath.Join(dir, lockName)
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		unlock, err := tryLock(path)
		if !errors.Is(err, errLocked) {
			return unlock, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}
