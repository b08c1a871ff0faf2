package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"time"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
)

// digest is the SHA-256 of each file of the input, or why it could not be had.
type digest struct {
	sums []string // the model first, then its data files
	err  error
}

// digestInput hashes the input's files beside the other work.
func digestInput(ctx context.Context, f *onnxio.File) <-chan digest {
	done := make(chan digest, 1)
	go func() {
		var d digest
		paths := []string{f.Path}
		for _, e := range f.External {
			paths = append(paths, e.Path)
		}
		for _, p := range paths {
			sum, err := digestFile(ctx, p)
			if err != nil {
				d.err = err
				break
			}
			d.sums = append(d.sums, sum)
		}
		done <- d
	}()
	return done
}

func digestFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// describe is what the report says of a model, apart from its files.
func describe(m *graph.Model) reports.Artifact {
	a := reports.Artifact{Format: "onnx", IRVersion: m.IRVersion, Opset: m.OpsetVersion(""), Opsets: []reports.Opset{},
		Functions: int64(len(m.Functions)), Producer: m.ProducerName, ExternalFiles: []reports.ExternalFile{}}
	if m.ProducerVersion != "" {
		a.Producer += " " + m.ProducerVersion
	}
	for _, o := range m.Opsets {
		a.Opsets = append(a.Opsets, reports.Opset{Domain: o.Domain, Version: o.Version})
	}
	count := func(*graph.Node) { a.Nodes++ }
	graph.WalkNodes(m.Graph.Nodes, count)
	for _, f := range m.Functions {
		graph.WalkNodes(f.Nodes, count)
	}
	return a
}

// artifact describes a model that was saved at path.
func artifact(m *graph.Model, path string, saved onnxio.SaveResult) reports.Artifact {
	a := describe(m)
	a.Name, a.Bytes = filepath.Base(path), saved.Bytes
	for i, f := range saved.Files {
		if i == 0 {
			a.SHA256 = f.SHA256
			continue
		}
		a.ExternalFiles = append(a.ExternalFiles, reports.ExternalFile{Name: filepath.Base(f.Path), Bytes: f.Bytes, SHA256: f.SHA256})
	}
	return a
}

// inputArtifact describes the model that was opened.
func inputArtifact(f *onnxio.File, d digest) (reports.Artifact, error) {
	if d.err != nil {
		return reports.Artifact{}, d.err
	}
	a := describe(f.Model)
	a.Name, a.Bytes, a.SHA256 = filepath.Base(f.Path), f.Bytes, d.sums[0]
	for i, e := range f.External {
		a.Bytes += e.Bytes
		a.ExternalFiles = append(a.ExternalFiles, reports.ExternalFile{Name: e.Location, Bytes: e.Bytes, SHA256: d.sums[i+1]})
	}
	return a, nil
}

// fill completes the report of a conversion.
func (o *convertOptions) fill(rep *reports.Report, res *rewrite.Result, opt rewrite.Options, start time.Time) {
	r := opt.Recipe
	rep.Settings = reports.Settings{
		Recipe: r.String(), HistoryLen: int64(r.HistoryLen), AmaxCompute: r.Compute.String(), Margin: int64(r.Margin),
		PowerOfTwo: r.PowerOfTwo, PerChannel: r.PerChannel, Weights: opt.Weights.String(), Emit: o.emit,
		Include: append([]string{}, o.include...), Exclude: append([]string{}, o.exclude...),
		MultipleOf: opt.MultipleOf, MinDim: opt.MinDim, AssumeConstant: opt.AssumeConstant,
	}
	rep.State = res.State()
	rep.Layers = res.Layers()
	rep.Changes = append([]reports.Change{}, res.Changes...)
	rep.Warnings = append([]reports.Warning{}, res.Warnings...)
	if out := rep.Model.Output; out != nil {
		for _, f := range out.ExternalFiles {
			rep.Changes = append(rep.Changes, reports.NewChange(reports.ChangeExternalData, f.Name, f.Name))
		}
		if in := rep.Model.Input.Bytes; res.Changed && out.Bytes > in {
			rep.Warnings = append(rep.Warnings, reports.NewWarning(reports.WarnOutputLarger, "model", in, out.Bytes))
		}
	}
	host, _ := os.Hostname()
	rep.Volatile = reports.Volatile{
		Time: start.UTC().Format(time.RFC3339), DurationSeconds: reports.Float64(time.Since(start).Seconds()), Host: host,
		OS: goruntime.GOOS, Arch: goruntime.GOARCH, Threads: int64(goruntime.GOMAXPROCS(0)), Version: buildVersion(),
		GoVersion: goruntime.Version(),
	}
	rep.Finish()
}
