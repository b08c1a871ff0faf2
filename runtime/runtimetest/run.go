package runtimetest

import (
	"context"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// testCase is one promise and how it is tested.
type testCase struct {
	name string
	test func(t *testing.T, e *engine)
}

// engine is the backend under test and what it must reach.
type engine struct {
	runtime.Backend
	tol Tolerances
}

// Run holds b against the whole suite. skip maps a case, or a folder of cases, to the reason for which b does not pass it. An engine
// that is not available skips everything, with its own words.
func Run(t *testing.T, b runtime.Backend, skip map[string]string, tol Tolerances) {
	if err := b.Check(); err != nil {
		t.Skipf("%s: %v", b.Name(), err)
	}
	e := &engine{Backend: b, tol: tol}
	used := map[string]bool{}
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			for entry, reason := range skip {
				if c.name == entry || strings.HasPrefix(c.name, entry+"/") {
					used[entry] = true
					t.Skipf("%s does not pass this: %s", b.Name(), reason)
				}
			}
			c.test(t, e)
		})
	}
	// With -run only some cases are looked at, and nothing can be said of the others.
	if filtered() {
		return
	}
	for entry := range skip {
		if !used[entry] {
			t.Errorf("the skip of %q fits no case", entry)
		}
	}
}

func cases() []testCase {
	var all []testCase
	for _, group := range [][]testCase{
		linearCases(), elementwiseCases(), typeCases(), layerCases(), amaxCases(), countCases(), variableCases(), controlCases(),
		inputCases(), sessionCases(), cancelCases(), errorCases(), reduceCases(), bitCases(), modelCases(),
	} {
		all = append(all, group...)
	}
	return all
}

// open makes a session that ends with the test.
func (e *engine) open(t *testing.T, m *graph.Model, opt runtime.Options) runtime.Session {
	t.Helper()
	s, err := e.Open(context.Background(), m, opt)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// feeds are the inputs of a run by name.
type feeds map[string]*tensor.Tensor

func (f feeds) values() map[string]runtime.Value {
	out := map[string]runtime.Value{}
	for name, t := range f {
		out[name] = runtime.FromTensor(t)
	}
	return out
}

// run runs s and wants success.
func run(t *testing.T, s runtime.Session, in feeds) *runtime.Result {
	t.Helper()
	res, err := s.Run(context.Background(), in.values())
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	for _, name := range s.Outputs() {
		if _, ok := res.Values[name]; !ok {
			t.Fatalf("run: no output %q", name)
		}
	}
	if len(res.Layers) != len(s.Layers()) {
		t.Fatalf("run: %d layers, the session has %d", len(res.Layers), len(s.Layers()))
	}
	for i, l := range res.Layers {
		if l.Layer != s.Layers()[i] {
			t.Fatalf("run: layer %d is %q, the session says %q", i, l.Layer, s.Layers()[i])
		}
	}
	return res
}

// once opens m, runs it and gives the result.
func (e *engine) once(t *testing.T, m *graph.Model, in feeds, opt runtime.Options) *runtime.Result {
	t.Helper()
	return run(t, e.open(t, m, opt), in)
}
