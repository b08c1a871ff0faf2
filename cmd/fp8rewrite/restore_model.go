package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// suggestRestored is a name for a restored model.
func suggestRestored(in string) string {
	base := filepath.Base(in)
	return base[:len(base)-len(filepath.Ext(base))] + ".restored.onnx"
}

// runModel restores an ONNX model.
func (o *restoreOptions) runModel(ctx context.Context, stdout, stderr io.Writer, in string, dtype tensor.DType) error {
	start := time.Now()
	if err := o.outputs.probe(in, suggestRestored(in)); err != nil {
		return err
	}
	file, err := onnxio.Open(in)
	if err != nil {
		return explainOpen(in, err)
	}
	defer file.Close()
	if err := o.refuseData(file, suggestRestored(in)); err != nil {
		return err
	}
	err = mapfile.Guard(func() error { return o.restoreModel(ctx, stdout, stderr, file, dtype, start) })
	return explainChange(file, err)
}

func (o *restoreOptions) restoreModel(ctx context.Context, stdout, stderr io.Writer, file *onnxio.File, dtype tensor.DType, start time.Time) error {
	digests := digestInput(ctx, file)
	defer digests.stop()
	res, err := rewrite.Restore(file.Model, dtype)
	if errors.Is(err, rewrite.ErrNothingToRestore) {
		return hint(err, "fp8rewrite convert %s -o %s", shellWord(file.Path), shellWord(suggestOutput(file.Path)))
	}
	if err != nil {
		return err
	}
	rep := &reports.Report{Kind: reports.KindConvert, Settings: reports.Settings{Recipe: "restored", Weights: "original", Emit: "restore",
		Include: []string{}, Exclude: []string{}}, State: reports.State{Calibrated: true}, Layers: res.Rows, Changes: []reports.Change{}, Warnings: []reports.Warning{}}
	if !o.dryRun {
		bar := newBar(stderr, o.quiet)
		saved, err := onnxio.Save(ctx, o.out, res.Model, onnxio.SaveOptions{Progress: bar.stage("writing model")})
		bar.clear()
		if err != nil {
			return err
		}
		out := artifact(res.Model, o.out, saved)
		rep.Model.Output = &out
	}
	sums, err := digests.wait(ctx)
	if err != nil {
		return err
	}
	rep.Model.Input = inputArtifact(file, sums)
	fillVolatile(rep, start)
	rep.Finish()
	return o.reported(writeReport(stdout, rep, o.report, o.json, o.quiet, render.Options{}))
}

// reported marks an error that comes after the model has been written; nil stays nil.
func (o *restoreOptions) reported(err error) error {
	if err == nil {
		return nil
	}
	return o.afterwards(err)
}
