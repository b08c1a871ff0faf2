package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
)

// digests are the sums of each file of a model, the SHA-256 of the model and the xxHash of its data, which are computed beside the other work.
type digests struct {
	stop func() // ends the work early
	done <-chan digested
	got  *digested // once it is there
}

// digested is the sums, the model's first, then those of its data files; or why they could not be had.
type digested struct {
	sums []string
	err  error
}

// digestInput begins to hash the input's files.
func digestInput(ctx context.Context, f *onnxio.File) *digests {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan digested, 1) // nobody may be there to take it
	go func() {
		sum, err := digestFile(ctx, f.Path, f.Bytes, sha256.New())
		d := digested{[]string{sum}, err}
		for _, e := range f.External {
			if d.err != nil {
				break
			}
			sum, d.err = digestFile(ctx, e.Path, e.Bytes, xxhash.New())
			d.sums = append(d.sums, sum)
		}
		done <- d
	}()
	return &digests{stop: stop, done: done}
}

// wait gives the sums once they are there.
func (d *digests) wait(ctx context.Context) ([]string, error) {
	if d.got == nil {
		select {
		case got := <-d.done:
			d.got = &got
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return d.got.sums, d.got.err
}

// digestFile hashes the file at path, which had size bytes when it was opened. It reads the file instead of its mapping: a page of a
// mapping that went away would be a fault, and reading counts towards nobody's memory.
func digestFile(ctx context.Context, path string, size int64, h hash.Hash) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	total := int64(0)
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := f.Read(buf)
		h.Write(buf[:n])
		total += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
	}
	if total != size {
		return "", changedError{path, size, total}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// changedError says that a file of the input changed while it was worked on.
type changedError struct {
	path     string
	had, has int64
}

func (e changedError) Error() string {
	return fmt.Sprintf("%s changed while it was read: it had %d bytes and has %d", e.path, e.had, e.has)
}

// changed finds a file of the input that no longer has the size with which it was opened.
func changed(f *onnxio.File) error {
	check := func(path string, size int64) error {
		info, err := os.Stat(path)
		if err != nil || info.Size() == size {
			return nil // a file that was removed is still there for those who have it open
		}
		return changedError{path, size, info.Size()}
	}
	if err := check(f.Path, f.Bytes); err != nil {
		return err
	}
	for _, e := range f.External {
		if err := check(e.Path, e.Bytes); err != nil {
			return err
		}
	}
	return nil
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
			a.SHA256 = f.Digest
			continue
		}
		a.ExternalFiles = append(a.ExternalFiles, reports.ExternalFile{Name: filepath.Base(f.Path), Bytes: f.Bytes, XXH64: f.Digest})
	}
	return a
}

// inputArtifact describes the model that was opened; sums are those of digests.
func inputArtifact(f *onnxio.File, sums []string) reports.Artifact {
	if isBuilt(f) {
		var files []checkpoint.FileInfo
		for i, e := range f.External {
			files = append(files, checkpoint.FileInfo{Name: e.Location, Bytes: e.Bytes, XXH64: sums[i+1]})
		}
		return asCheckpoint(describe(f.Model), artifactOf(filepath.Dir(f.Path), files, true))
	}
	a := describe(f.Model)
	a.Name, a.Bytes, a.SHA256 = filepath.Base(f.Path), f.Bytes, sums[0]
	for i, e := range f.External {
		a.Bytes += e.Bytes
		a.ExternalFiles = append(a.ExternalFiles, reports.ExternalFile{Name: e.Location, Bytes: e.Bytes, XXH64: sums[i+1]})
	}
	return a
}

// asCheckpoint is what a report says of a graph whose tensors lie in the files of a checkpoint.
func asCheckpoint(a, files reports.Artifact) reports.Artifact {
	a.Name, a.Format, a.Bytes, a.SHA256, a.ExternalFiles = files.Name, files.Format, files.Bytes, files.SHA256, files.ExternalFiles
	return a
}

// fill completes the report of a conversion.
func (o *convertOptions) fill(rep *reports.Report, res *rewrite.Result, opt rewrite.Options, start time.Time) {
	rep.Settings = recipeSettings(res.Recipe)
	s := &rep.Settings
	s.Weights, s.Emit = opt.Weights.String(), o.emit
	s.Include, s.Exclude = append([]string{}, o.include...), append([]string{}, o.exclude...)
	s.MultipleOf, s.MinDim, s.AssumeConstant, s.Observe = opt.MultipleOf, opt.MinDim, opt.AssumeConstant, opt.Observe
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
	fillVolatile(rep, start)
	rep.Finish()
}

// fillVolatile says when, where and by which version a report was made; start is when the work began.
func fillVolatile(rep *reports.Report, start time.Time) {
	host, _ := os.Hostname()
	rep.Volatile = reports.Volatile{
		Time: start.UTC().Format(time.RFC3339), DurationSeconds: reports.Float64(time.Since(start).Seconds()), Host: host,
		OS: goruntime.GOOS, Arch: goruntime.GOARCH, Threads: int64(goruntime.GOMAXPROCS(0)), Version: buildVersion(),
		GoVersion: goruntime.Version(),
	}
}

// writeReport puts a report where the flags ask for it: in the file at path, and on stdout as JSON, as a table, or not at all.
func writeReport(stdout io.Writer, rep *reports.Report, path string, asJSON, quiet bool, opt render.Options) error {
	var encoded bytes.Buffer
	if err := reports.Encode(&encoded, rep); err != nil {
		return err
	}
	if path != "" {
		if err := atomicfile.WriteFile(path, encoded.Bytes()); err != nil {
			return err
		}
	}
	switch {
	case quiet:
		return nil
	case asJSON:
		_, err := stdout.Write(encoded.Bytes())
		return err
	}
	opt.Width, opt.Color = terminalWidth(stdout), render.Color(isTerminal(stdout), os.Getenv)
	return render.Table(stdout, rep, opt)
}
