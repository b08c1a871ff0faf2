package runtimetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func cancelCases() []testCase {
	return []testCase{{"cancel/before open", cancelOpen}, {"cancel/before a run", cancelBefore}, {"cancel/during a run", cancelDuring}}
}

// patience is how long after the cancellation a run may take to stop. An engine looks at its context between nodes at the latest,
// and the nodes here take milliseconds; the rest is for a machine that has other things to do.
const patience = 10 * time.Second

func cancelOpen(t *testing.T, e *engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := e.Open(ctx, keepModel(), runtime.Options{})
	if err == nil {
		s.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("open with a cancelled context: %v, want %v", err, context.Canceled)
	}
}

func cancelBefore(t *testing.T, e *engine) {
	s := e.open(t, keepModel(), runtime.Options{})
	in := feeds{"x": tensor.Float32s(tensor.Shape{3}, 1, 2, 3)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, in.values()); !errors.Is(err, context.Canceled) {
		t.Errorf("a run with a cancelled context: %v, want %v", err, context.Canceled)
	}
	run(t, s, in)
}

// cancelDuring: a loop that would take days stops when it is told to, and the session runs again.
func cancelDuring(t *testing.T, e *engine) {
	m := newModel(modern)
	g := m.Graph
	input(g, "x", typ(tensor.Float32, 64, 64))
	input(g, "trips", typ(tensor.Int64))
	body := &graph.Graph{Name: "body"}
	input(body, "i", typ(tensor.Int64))
	input(body, "go_on", typ(tensor.Bool))
	input(body, "value", typ(tensor.Float32, 64, 64))
	constant(body, "hundredth", scalar(0.01))
	node(body, "MatMul", one("value", "x"), one("next"))
	node(body, "Mul", one("next", "hundredth"), one("scaled"))
	node(body, "Identity", one("go_on"), one("still"))
	output(body, "still", typ(tensor.Bool))
	output(body, "scaled", typ(tensor.Float32, 64, 64))
	node(g, "Loop", one("trips", "", "x"), one("y"), graphAttr("body", body))
	output(g, "y", typ(tensor.Float32, 64, 64))
	s := e.open(t, m, runtime.Options{})
	x := fromNumbers(tensor.Float32, tensor.Shape{64, 64}, random(81, tensor.Float32, 64*64))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var at time.Time
	time.AfterFunc(50*time.Millisecond, func() {
		at = time.Now()
		cancel()
	})
	_, err := s.Run(ctx, feeds{"x": x, "trips": tensor.Int64s(tensor.Shape{}, 1<<40)}.values())
	<-ctx.Done()
	if took := time.Since(at); took > patience {
		t.Errorf("stopped %v after the cancellation, want at most %v", took, patience)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v, want %v", err, context.Canceled)
	}
	run(t, s, feeds{"x": x, "trips": tensor.Int64s(tensor.Shape{}, 2)})
}
