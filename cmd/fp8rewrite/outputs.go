package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/samples"
)

// outputs are the files that a command writes.
type outputs struct {
	out          string // the model; - for stdout
	report       string
	checkpoint   string // what an interrupted run leaves; "" where none is left
	externalData bool
	dryRun       bool
}

// writesModel reports whether the model goes to a file.
func (o *outputs) writesModel() bool { return !o.dryRun && o.out != "-" && o.out != "" }

// probe finds an output that cannot be written, or that is the input in, before the slow work. suggest is a better name for the model.
func (o *outputs) probe(in, suggest string) error {
	if err := o.refuse(in, in, suggest); err != nil {
		return err
	}
	targets := []string{o.report}
	if o.writesModel() {
		targets = append(targets, o.out)
	}
	for _, t := range targets {
		if t == "" {
			continue
		}
		if err := atomicfile.Probe(t); err != nil {
			return err
		}
	}
	if o.report != "" && o.writesModel() && sameTarget(o.report, o.out) {
		return hint(usagef("--report and --output name the same file %q", o.out), "--report %s",
			shellWord(strings.TrimSuffix(o.out, filepath.Ext(o.out))+".json"))
	}
	if o.report != "" && o.checkpoint != "" && sameTarget(o.report, o.checkpoint) {
		return hint(usagef("--report names %q, where an interrupted run leaves its checkpoint", o.checkpoint), "--report %s",
			shellWord(strings.TrimSuffix(o.out, filepath.Ext(o.out))+".json"))
	}
	return nil
}

// refuse is the error of an output that is file, which belongs to the input in, by any of its names.
func (o *outputs) refuse(in, file, suggest string) error {
	if o.writesModel() && sameTarget(o.out, file) {
		return hint(fmt.Errorf("output %q is the same file as the input %q", o.out, file), "-o %s", shellWord(suggest))
	}
	if o.report != "" && sameTarget(o.report, file) {
		return hint(fmt.Errorf("report %q is the same file as the input %q", o.report, file), "--report report.json")
	}
	if o.checkpoint != "" && sameTarget(o.checkpoint, file) {
		return hint(fmt.Errorf("checkpoint %q, which an interrupted run leaves, is the same file as the input %q", o.checkpoint, file), "-o %s", shellWord(suggest))
	}
	return nil
}

// refuseData is the error of an output that is one of the opened model's data files.
func (o *outputs) refuseData(file *onnxio.File, suggest string) error {
	if isBuilt(file) {
		if err := o.refuseWithin(filepath.Dir(file.Path), suggest); err != nil {
			return err
		}
	}
	for _, e := range file.External {
		if err := o.refuse(file.Path, e.Path, suggest); err != nil {
			return err
		}
	}
	return nil
}

// refuseWithin is the error of an output that lies in the folder that is read: a checkpoint is all that is in its folder.
func (o *outputs) refuseWithin(folder, suggest string) error {
	for _, target := range []string{o.out, o.report} {
		if rel, err := filepath.Rel(absolute(folder), filepath.Join(absolute(filepath.Dir(target)), filepath.Base(target))); target != "" && err == nil && filepath.IsLocal(rel) {
			return hint(fmt.Errorf("output %q lies in the input %q", target, folder), "-o %s", shellWord(suggest))
		}
	}
	return nil
}

// refuseBatches is the error of an output that is one of the files that the opened batches are read from.
func (o *outputs) refuseBatches(set *samples.Set, suggest string) error {
	for _, file := range set.Files() {
		if err := o.refuse(file, file, suggest); err != nil {
			return err
		}
	}
	return nil
}

// afterwards marks an error that comes after the model has been written.
func (o *outputs) afterwards(err error) error {
	switch {
	case o.out == "-":
		return written{"the model", err}
	case o.writesModel():
		return written{o.out, err}
	}
	return err
}

// sameTarget reports whether a and b are the same file, or would be if they existed.
func sameTarget(a, b string) bool {
	if atomicfile.SameFile(a, b) {
		return true
	}
	dirA, errA := filepath.EvalSymlinks(filepath.Dir(a))
	dirB, errB := filepath.EvalSymlinks(filepath.Dir(b))
	return errA == nil && errB == nil && filepath.Base(a) == filepath.Base(b) && atomicfile.SameFile(dirA, dirB)
}
