package atomicfile

// The rules, for every file that this program writes:
//
//  1. Content goes to a temporary file in the target's folder, made with O_EXCL, called .fp8rewrite-*.tmp.
//  2. The temporary file is synced before it is renamed, the folder after.
//  3. Until the rename the old file is as it was; a failure or a cancelled context removes the temporary file.
//  4. A target that is there but is no regular file (a folder, a device, a link) is refused: a rename would replace it.
//  5. A program that is killed leaves its temporary file; RemoveAbandoned finds it a day later.

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// File is a file on its way to its name. Use: Create, Write, Sync, Commit; Discard is safe at every point and does nothing after
// Commit.
type File struct {
	f       *os.File
	target  string
	mode    fs.FileMode
	need    int64 // bytes in all, where Reserve was told
	synced  bool
	renamed bool
	done    bool // renamed or removed
}

// Create opens a temporary file beside target. Its name for good may be chosen later, with CommitAs.
func Create(target string) (*File, error) {
	mode, err := check(target)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		var r [8]byte
		if _, err := rand.Read(r[:]); err != nil {
			return nil, err
		}
		name := filepath.Join(filepath.Dir(target), temporaryPrefix+hex.EncodeToString(r[:])+temporarySuffix)
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) && try < 100 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: folder is not writable: %w", target, cause(err))
		}
		return &File{f: f, target: target, mode: mode}, nil
	}
}

// check refuses targets that a rename must not replace and gives the mode of the file that is there, 0 when there is none.
func check(target string) (fs.FileMode, error) {
	if target == "" {
		return 0, errors.New("no output file named")
	}
	dir, err := os.Stat(filepath.Dir(target))
	if err != nil {
		return 0, fmt.Errorf("%s: folder: %w", target, err)
	}
	if !dir.IsDir() {
		return 0, fmt.Errorf("%s: %q is not a folder", target, filepath.Dir(target))
	}
	info, err := os.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case info.IsDir():
		return 0, fmt.Errorf("%s: is a folder, want a file name", target)
	case info.Mode()&fs.ModeSymlink != 0:
		return 0, fmt.Errorf("%s: is a symbolic link: name the file that it points to", target)
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s: is not a regular file", target)
	}
	return info.Mode().Perm(), nil
}

// cause is the reason alone, without the operation and the temporary name that *fs.PathError adds.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// Probe reports whether a file could be written at target, by making and removing a temporary one: before slow work, not after.
func Probe(target string) error {
	f, err := Create(target)
	if err != nil {
		return err
	}
	f.Discard()
	return nil
}

// Write appends to the temporary file.
func (f *File) Write(b []byte) (int, error) {
	n, err := f.f.Write(b)
	if err != nil {
		return n, f.explain(err)
	}
	return n, nil
}

// Reserve fails early where the file system can tell that size bytes do not fit; elsewhere it does nothing.
func (f *File) Reserve(size int64) error {
	f.need = size
	if err := reserve(f.f, size); err != nil {
		return f.explain(err)
	}
	return nil
}

// Flush asks the system to begin writing bytes [off, off+n) to disk while more are produced. It is a hint.
func (f *File) Flush(off, n int64) { flush(f.f, off, n) }

// StartWriting is Flush for a file that the caller writes in place.
func StartWriting(f *os.File, off, n int64) { flush(f, off, n) }

func (f *File) explain(err error) error {
	if full(err) {
		return &fullError{f.target, f.need}
	}
	return fmt.Errorf("write %s: %w", f.target, cause(err))
}

// fullError is syscall.ENOSPC, on every system.
type fullError struct {
	target string
	need   int64
}

func (e *fullError) Error() string {
	if e.need > 0 {
		return fmt.Sprintf("write %s: no space left on device: need %d bytes", e.target, e.need)
	}
	return fmt.Sprintf("write %s: no space left on device", e.target)
}

func (e *fullError) Unwrap() error { return syscall.ENOSPC }

// Sync brings the content to the disk and closes the temporary file; the old file is still in place.
func (f *File) Sync() error {
	if f.synced {
		return nil
	}
	if f.mode != 0 && runtime.GOOS != "windows" {
		if err := f.f.Chmod(f.mode); err != nil {
			return f.explain(err)
		}
	}
	if err := f.f.Sync(); err != nil {
		return f.explain(err)
	}
	if err := f.f.Close(); err != nil {
		return f.explain(err)
	}
	f.synced = true
	return nil
}

// Commit syncs what is not synced and gives the file its name.
func (f *File) Commit() error { return f.CommitAs(f.target) }

// CommitAs is Commit under another name in the same folder.
func (f *File) CommitAs(target string) error {
	if err := f.Sync(); err != nil {
		return err
	}
	f.target = target
	if err := os.Rename(f.f.Name(), target); err != nil {
		return f.explain(err)
	}
	f.done, f.renamed = true, true
	return SyncDir(filepath.Dir(target))
}

// Renamed reports whether the file has its name; an error of Commit may come after that, from syncing the folder.
func (f *File) Renamed() bool { return f.renamed }

// Discard removes the temporary file. Where that is not possible, as in a folder that may no longer be written to, it is emptied.
func (f *File) Discard() {
	if f.done {
		return
	}
	f.done = true
	f.f.Close()
	if os.Remove(f.f.Name()) != nil {
		_ = os.Truncate(f.f.Name(), 0)
	}
}

// SyncDir makes the names in dir last, where the system can do that.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		// A folder may be writable and not readable; the rename has happened all the same.
		return nil
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("sync folder %s: %w", dir, cause(err))
	}
	return nil
}

// SameFile reports whether a and b are the same file: the same path once cleaned, or the same file on disk by links.
func SameFile(a, b string) bool {
	if absA, err := filepath.Abs(a); err == nil {
		if absB, err := filepath.Abs(b); err == nil && absA == absB {
			return true
		}
	}
	infoA, err := os.Stat(a)
	if err != nil {
		return false
	}
	infoB, err := os.Stat(b)
	return err == nil && os.SameFile(infoA, infoB)
}
