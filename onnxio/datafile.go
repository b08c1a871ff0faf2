package onnxio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
)

const digestLength = 16 // of an xxHash

// dataName is the name of the data file of the model at path. The model's name is in it whole: without its ending two models of one
// folder could share a data file.
func dataName(path, digest string) string { return filepath.Base(path) + "." + digest + ".data" }

// isDataName reports whether dataName could have given the name for the model at path.
func isDataName(path, name string) bool {
	digest, ok := strings.CutPrefix(name, filepath.Base(path)+".")
	digest, ok2 := strings.CutSuffix(digest, ".data")
	return ok && ok2 && len(digest) == digestLength && strings.Trim(digest, "0123456789abcdef") == ""
}

// ownDataFiles are the names of the data files, by their form made by an earlier Save to path, that the model at path points at.
func ownDataFiles(path string) []string {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeType != 0 {
		return nil
	}
	var found []string
	seen := map[string]bool{}
	err = locationsIn(path, func(location string) {
		if !seen[location] && isDataName(path, location) {
			seen[location] = true
			found = append(found, location)
		}
	})
	if err != nil { // what is no model has no data files
		return nil
	}
	return found
}

// locationsIn calls f with every location that the model at path names.
func locationsIn(path string, f func(string)) error {
	m, err := mapfile.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	return mapfile.Guard(func() error { return locations(m.Bytes(), modelKind, f) })
}

// removeUnused removes those of the files in dir, by their names, that no model in dir points at. Where that cannot be told, as
// from a file that may not be read, they stay. The caller has the folder's lock.
func removeUnused(dir string, names []string) {
	if len(names) == 0 {
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	unused := map[string]string{} // by how a file system that ignores case could have it
	for _, n := range names {
		unused[strings.ToLower(n)] = n
	}
	for _, e := range entries {
		if atomicfile.IsTemporary(e.Name()) {
			continue // whoever finishes it brings its data along
		}
		file := filepath.Join(dir, e.Name())
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode().IsRegular():
			continue
		case err != nil:
			return
		}
		m, err := mapfile.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return
		}
		err = mapfile.Guard(func() error {
			_ = locations(m.Bytes(), modelKind, func(location string) { // an error: no model
				delete(unused, strings.ToLower(path.Clean(location)))
			})
			return nil
		})
		m.Close()
		if err != nil {
			return
		}
	}
	for _, n := range unused {
		os.Remove(filepath.Join(dir, n))
	}
}

// hasDigest reports whether the file at path has this size and, in hexadecimal, this 64-bit xxHash.
func hasDigest(path string, size int64, digest string) (bool, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return false, err
	}
	defer m.Close()
	if m.Info().Size() != size {
		return false, nil
	}
	var got string
	err = mapfile.Guard(func() error {
		got = fmt.Sprintf("%016x", xxhash.Sum64(m.Bytes()))
		return nil
	})
	return got == digest, err
}
