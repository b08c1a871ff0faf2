package ort

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// throughMemory is the size up to which a model is handed over as bytes in memory, of which there are three copies for a moment. It
// is a variable for the tests alone.
var throughMemory int64 = 128 << 20

// session is one OrtSession.
type session struct {
	*prepared
	lib    *library
	handle uintptr
	folder string // of a large model's files, "" once they are gone
	types  map[string]*graph.Type

	fed map[string]uintptr // the OrtValue of each variable

}

// open makes a session of a prepared model.
func (l *library) open(ctx context.Context, p *prepared, threads int) (s *session, err error) {
	s = &session{prepared: p, lib: l, types: map[string]*graph.Type{}, fed: map[string]uintptr{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if threads <= 0 {
		threads = goruntime.GOMAXPROCS(0)
	}
	var options uintptr
	if err := l.call(fnCreateSessionOptions, uintptr(unsafe.Pointer(&options))); err != nil {
		return s, openError(p.model, err)
	}
	defer l.release(fnReleaseSessionOptions, options)
	if err := errors.Join(
		l.call(fnSetIntraOpThreads, options, uintptr(threads)),
		// Nodes run one after another; this many threads would only wait.
		l.call(fnSetInterOpThreads, options, 1),
		l.call(fnSetLogSeverity, options, logFatal),
	); err != nil {
		return s, openError(p.model, err)
	}
	if err := s.create(ctx, options); err != nil {
		return s, err
	}
	for _, out := range p.model.Graph.Outputs {
		s.types[out.Name] = out.Type
	}
	for _, v := range p.variables {
		if err := s.feed(v, v.first); err != nil {
			return s, fmt.Errorf("ort: variable %q: %w", v.name, err)
		}
	}
	// The session has its own copy of everything by now.
	p.model = nil
	return s, nil
}

// create hands the model over.
func (s *session) create(ctx context.Context, options uintptr) error {
	l := s.lib
	sizes, err := onnxio.Plan("model.onnx", s.model, onnxio.SaveOptions{})
	if err != nil {
		return err
	}
	if sizes.Data == 0 && sizes.Model <= throughMemory {
		b, err := onnxio.Marshal(s.model)
		if err != nil {
			return err
		}
		return openError(s.model, l.call(fnCreateSessionArray, l.env, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), options, uintptr(unsafe.Pointer(&s.handle))))
	}
	if s.folder, err = os.MkdirTemp("", "fp8rewrite-ort-"); err != nil {
		return err
	}
	path := filepath.Join(s.folder, "model.onnx")
	if _, err := onnxio.Save(ctx, path, s.model, onnxio.SaveOptions{ExternalData: true}); err != nil {
		return err
	}
	file, err := fileName(path)
	if err != nil {
		return err
	}
	if err := l.call(fnCreateSession, l.env, uintptr(file), options, uintptr(unsafe.Pointer(&s.handle))); err != nil {
		return openError(s.model, err)
	}
	// ONNX Runtime maps the weights. Where the system lets a mapped file be deleted, nothing is left behind even if the process is
	// killed; elsewhere Close does it.
	if os.RemoveAll(s.folder) == nil {
		s.folder = ""
	}
	return nil
}

// feed makes t the content of a variable.
func (s *session) feed(v variable, t *tensor.Tensor) error {
	value, err := s.lib.newTensor(t)
	if err != nil {
		return err
	}
	s.lib.release(fnReleaseValue, s.fed[v.name])
	s.fed[v.name] = value
	return nil
}

// Inputs are the graph's inputs that have no default.
func (s *session) Inputs() []*graph.Value { return s.required }

// Outputs are the graph's outputs and what is kept beside them.
func (s *session) Outputs() []string { return s.outputs }

// Layers are the names of the layers; those in functions come last.
func (s *session) Layers() []string {
	names := make([]string, len(s.layers))
	for i, l := range s.layers {
		names[i] = l.name
	}
	return names
}

// Plan knows nothing: ONNX Runtime does not say what a run will need. Every value counts as unknown.
func (s *session) Plan(map[string]tensor.Shape) (runtime.Plan, error) {
	return runtime.Plan{Unknown: s.values}, nil
}

// Set replaces the content of a variable.
func (s *session) Set(name string, t *tensor.Tensor) error {
	if s.handle == 0 {
		return errClosed
	}
	i := slices.IndexFunc(s.variables, func(v variable) bool { return v.name == name })
	if i < 0 {
		return fmt.Errorf("ort: %q was not opened as a variable", name)
	}
	v := s.variables[i]
	if t == nil || t.DType != v.first.DType || !t.Shape.Equal(v.first.Shape) {
		return &runtime.InputError{Input: name, Got: describeValue(runtime.FromTensor(t)), Want: describeValue(runtime.FromTensor(v.first))}
	}
	if err := s.feed(v, t); err != nil {
		return fmt.Errorf("ort: variable %q: %w", name, err)
	}
	return s.weigh(name, t)
}

var errClosed = errors.New("ort: the session is closed")

// Run executes the model.
func (s *session) Run(ctx context.Context, inputs map[string]runtime.Value) (*runtime.Result, error) {
	if s.handle == 0 {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.checkInputs(inputs); err != nil {
		return nil, err
	}
	l := s.lib
	var names []string
	var values []uintptr
	for _, v := range s.variables {
		if _, ok := inputs[v.input]; ok {
			continue
		}
		names, values = append(names, v.input), append(values, s.fed[v.name])
	}
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		value, err := l.newValue(inputs[name])
		if err != nil {
			return nil, fmt.Errorf("ort: input %q: %w", name, err)
		}
		defer l.release(fnReleaseValue, value)
		names, values = append(names, name), append(values, value)
	}
	outs := make([]uintptr, len(s.fetch))
	defer func() {
		for _, out := range outs {
			l.release(fnReleaseValue, out)
		}
	}()
	if err := s.execute(ctx, names, values, outs); err != nil {
		return nil, err
	}
	res := &runtime.Result{Values: map[string]runtime.Value{}}
	all := map[string]runtime.Value{}
	for i, name := range s.fetch {
		v, err := l.readValue(outs[i], s.types[name])
		if err != nil {
			return nil, fmt.Errorf("ort: output %q: %w", name, err)
		}
		all[name] = v
	}
	for _, name := range s.outputs {
		res.Values[name] = all[name]
	}
	var err error
	res.Layers, err = stats(s.layers, all, inputs)
	return res, err
}

// execute runs the session; names and values are the inputs, outs receives the values of fetch.
func (s *session) execute(ctx context.Context, names []string, values, outs []uintptr) error {
	l := s.lib
	var options uintptr
	if err := l.call(fnCreateRunOptions, uintptr(unsafe.Pointer(&options))); err != nil {
		return runError(err)
	}
	defer l.release(fnReleaseRunOptions, options)
	if err := l.call(fnRunSetLogSeverity, options, logFatal); err != nil {
		return runError(err)
	}
	var pins goruntime.Pinner
	defer pins.Unpin()
	in, out := cstrings(&pins, names), cstrings(&pins, s.fetch)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		// The one call that another thread may make during a run. ONNX Runtime looks at it before each node.
		dynlib.Call(l.fn[fnRunSetTerminate], options)
	})
	err := l.call(fnRun, s.handle, options,
		uintptr(unsafe.Pointer(unsafe.SliceData(in))), uintptr(unsafe.Pointer(unsafe.SliceData(values))), uintptr(len(in)),
		uintptr(unsafe.Pointer(unsafe.SliceData(out))), uintptr(len(out)), uintptr(unsafe.Pointer(unsafe.SliceData(outs))))
	if !stop() {
		<-told
		// What the run says then is that it was told to stop.
		return ctx.Err()
	}
	return runError(err)
}

// cstrings are the addresses of names as C wants them, in memory that is pinned.
func cstrings(pins *goruntime.Pinner, names []string) []uintptr {
	at := make([]uintptr, len(names))
	for i, name := range names {
		b := cstring(name)
		pins.Pin(&b[0])
		at[i] = uintptr(unsafe.Pointer(&b[0]))
	}
	return at
}

// Close ends the session.
func (s *session) Close() error {
	l := s.lib
	l.release(fnReleaseSession, s.handle)
	s.handle = 0
	for name, value := range s.fed {
		l.release(fnReleaseValue, value)
		delete(s.fed, name)
	}
	if s.folder == "" {
		return nil
	}
	folder := s.folder
	s.folder = ""
	return os.RemoveAll(folder)
}
