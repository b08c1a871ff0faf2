package atomicfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func lock(t *testing.T, dir string) func() {
	t.Helper()
	unlock, err := Lock(context.Background(), dir)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("no locks here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return unlock
}

func TestOneHasTheLockAtATime(t *testing.T) {
	dir := t.TempDir()
	lock(t, dir)()
	path := filepath.Join(dir, "count")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				unlock, err := Lock(context.Background(), dir)
				if err != nil {
					t.Error(err)
					return
				}
				// Made and removed by whoever has the lock, so it is there for nobody else.
				f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o666)
				if err != nil {
					t.Error(err)
				} else {
					f.Close()
					os.Remove(path)
				}
				unlock()
			}
		})
	}
	all.Wait()
	if got := names(t, dir); got != "" {
		t.Errorf("folder holds %q, want nothing", got)
	}
}

func TestWaitingForALockEndsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	unlock := lock(t, dir)
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	if _, err := Lock(ctx, dir); err != cause {
		t.Errorf("got %v, want the cause", err)
	}
	unlock()
	lock(t, dir)()
	if _, err := Lock(ctx, dir); err != cause {
		t.Errorf("cancelled before: got %v, want the cause", err)
	}
}

func TestALockFileLeftBehindLocksNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, lockName), "")
	lock(t, dir)()
	if got := names(t, dir); got != "" {
		t.Errorf("folder holds %q, want nothing", got)
	}
}

func TestALockThatCannotBeIsAnError(t *testing.T) {
	dir := t.TempDir()
	lock(t, dir)()
	if err := os.Mkdir(filepath.Join(dir, lockName), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(context.Background(), dir); err == nil {
		t.Error("locked with a folder")
	}
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, lockName)); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if _, err := os.Readlink(filepath.Join(dir, lockName)); err == nil && os.PathSeparator == '/' {
		if _, err := Lock(context.Background(), dir); err == nil {
			t.Error("locked through a link")
		}
		if got := names(t, dir); got != lockName {
			t.Errorf("folder holds %q, want the link alone", got)
		}
	}
}

func TestTemporariesLeftForADayAreRemoved(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-25 * time.Hour)
	f, err := Create(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	young := filepath.Base(f.f.Name())
	if !IsTemporary(young) {
		t.Errorf("%q is no temporary file", young)
	}
	for _, name := range []string{".fp8rewrite-0123456789abcdef.tmp", ".fp8rewrite-mine.tmp", "fp8rewrite-0123456789abcdef.tmp", "b.tmp"} {
		path := filepath.Join(dir, name)
		write(t, path, "x")
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".fp8rewrite-fedcba9876543210.tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	RemoveAbandoned(dir)
	RemoveAbandoned(filepath.Join(dir, "none"))
	left := []string{young, ".fp8rewrite-fedcba9876543210.tmp", ".fp8rewrite-mine.tmp", "b.tmp", "fp8rewrite-0123456789abcdef.tmp"}
	for _, name := range left {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != len(left) {
		t.Errorf("folder holds %q, want %q", names(t, dir), left)
	}
}
