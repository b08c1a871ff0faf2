package atomicfile

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

const temporaryPrefix, temporarySuffix = ".fp8rewrite-", ".tmp"

// IsTemporary reports whether a file of this name, without folder, is one that Create made and that has no name for good yet.
func IsTemporary(name string) bool {
	middle, ok := strings.CutPrefix(name, temporaryPrefix)
	middle, ok2 := strings.CutSuffix(middle, temporarySuffix)
	return ok && ok2 && len(middle) == 16 && strings.Trim(middle, "0123456789abcdef") == ""
}

// abandoned is the age from which nobody can still be writing a temporary file: its time is that of the last write to it. Should
// somebody be after all, as a process that was stopped for long, then its rename is an error and the old file stays.
const abandoned = 24 * time.Hour

// RemoveAbandoned removes from dir the temporary files of programs that were killed a day ago or earlier.
func RemoveAbandoned(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !IsTemporary(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
