package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/policy"
)

// checkFile is a file of a check, with what to call it.
type checkFile struct{ what, path string }

// refuseTargets refuses files to write that are among those that the check reads, or one another, or that cannot be written: before the
// slow work, and before anything is written.
func (o *checkOptions) refuseTargets(p *policy.Policy, name string) error {
	targets := []checkFile{{"report", o.report}, {"output", p.Output}}
	reads := []checkFile{{"policy", name}, {"model", p.Model}}
	if p.Data != "" {
		reads = append(reads, checkFile{"data", p.Data})
	}
	if base := (checkFile{"baseline", p.Baseline}); o.update {
		targets = append(targets, base)
	} else {
		reads = append(reads, base)
	}
	targets = slices.DeleteFunc(targets, func(t checkFile) bool { return t.path == "" })
	for _, t := range targets {
		if t.path == "-" {
			return hint(usagef("check: the %s wants a file, got %q", t.what, t.path), "--format json prints the comparison on stdout")
		}
	}
	if f, err := onnxio.Open(p.Model); err == nil { // what is wrong with a model convert says
		for _, e := range f.External {
			reads = append(reads, checkFile{"data file of the model", e.Path})
		}
		f.Close()
	}
	for i, t := range targets {
		for _, in := range slices.Concat(reads, targets[:i]) {
			if sameTarget(t.path, in.path) {
				return hint(fmt.Errorf("the %s %q is the same file as the %s %q", t.what, t.path, in.what, in.path), "name another file for the %s", t.what)
			}
		}
		if isBatch(t.path, p.Data) {
			return hint(fmt.Errorf("the %s %q is a file of the data %q", t.what, t.path, p.Data), "name another file for the %s", t.what)
		}
	}
	for _, t := range targets {
		if err := atomicfile.Probe(t.path); err != nil {
			return fmt.Errorf("the %s: %w", t.what, err)
		}
	}
	return nil
}

// isBatch reports whether path is, or would be, a file of batches in the folder data.
func isBatch(path, data string) bool {
	info, err := os.Stat(data)
	if data == "" || err != nil || !info.IsDir() || !slices.Contains([]string{".npz", ".npy", ".safetensors", ".pb"}, strings.ToLower(filepath.Ext(path))) {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if atomicfile.SameFile(dir, data) {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}
