package calibrate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// watched is the CPU engine with an account of what is asked of it.
type watched struct {
	runtime.Backend
	log      []string
	variants []string // names that sessions may set
	fail     int      // the run that fails, from 1
	runs     int
}

type watchedSession struct {
	runtime.Session
	w *watched
}

func (w *watched) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	line := "open"
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		if ops.IsFloat8Linear(n) {
			line += " " + n.OpType
		}
	})
	w.log, w.variants = append(w.log, line), opt.Variables
	s, err := w.Backend.Open(ctx, m, opt)
	return &watchedSession{s, w}, err
}

func (s *watchedSession) Set(name string, t *tensor.Tensor) error {
	v, err := t.AsFloat32s()
	s.w.log = append(s.w.log, fmt.Sprintf("set %s %v", name, v))
	if err != nil {
		return err
	}
	return s.Session.Set(name, t)
}

var errBroken = errors.New("the device is gone")

func (s *watchedSession) Run(ctx context.Context, in map[string]runtime.Value) (*runtime.Result, error) {
	s.w.log = append(s.w.log, "run")
	if s.w.runs++; s.w.runs == s.w.fail {
		return nil, errBroken
	}
	return s.Session.Run(ctx, in)
}

func (s *watchedSession) Close() error {
	s.w.log = append(s.w.log, "close")
	return s.Session.Close()
}

// The first step runs the dynamic variants; then one session serves all steps, and gets each scale between them. A layer whose first
// amax is refused stays dynamic, alone.
func TestASessionIsOpenedAnewOnlyWhereALayerChangesItsForm(t *testing.T) {
	w := &watched{Backend: cpu.New()}
	// Layer b sees zeros in the first step, behind a Relu.
	data := rows{"x", [][][]float32{{{-7, -7, 7, -1}}, {{7, 7, -7, 7}}, {{3.5, 1, 1, 1}}}}
	m := layerModel(t, rewrite.Options{})
	if _, err := calibrate.Run(context.Background(), m, w, data, calibrate.Options{}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"open Float8LinearDynamic Float8LinearDynamic", "run",
		"close", "open Float8Linear Float8LinearDynamic", "run",
		"close", "open Float8Linear Float8Linear", "run", "close",
	}
	if !slices.Equal(w.log, want) {
		t.Errorf("got  %q\nwant %q", w.log, want)
	}
	if want := []string{"a.fp8_scale_input", "b.fp8_scale_input"}; !slices.Equal(w.variants, want) {
		t.Errorf("variables %q, want %q", w.variants, want)
	}

	w = &watched{Backend: cpu.New()}
	if _, err := calibrate.Run(context.Background(), m, w, data, calibrate.Options{NoAmaxInit: true}); err != nil {
		t.Fatal(err)
	}
	want = []string{
		"open Float8Linear Float8Linear", "run",
		"set a.fp8_scale_input [64]", "set b.fp8_scale_input [1]", "run",
		"set a.fp8_scale_input [64]", "set b.fp8_scale_input [21.333336]", "run", "close",
	}
	if !slices.Equal(w.log, want) {
		t.Errorf("without amax initialization: got  %q\nwant %q", w.log, want)
	}
}

func TestAFailureOfTheDeviceEndsTheRun(t *testing.T) {
	w := &watched{Backend: cpu.New(), fail: 3}
	saves := 0
	_, err := calibrate.Run(context.Background(), layerModel(t, rewrite.Options{}), w, some(), calibrate.Options{
		Save: func(*calibrate.Checkpoint) error { saves++; return nil }})
	if !errors.Is(err, errBroken) || err.Error() != "step 3: the device is gone" || w.log[len(w.log)-1] != "close" || saves != 0 {
		t.Errorf("got %v, %d checkpoints, %q", err, saves, w.log)
	}
	full := errors.New("no space left")
	if _, err := calibrate.Run(context.Background(), layerModel(t, rewrite.Options{}), cpu.New(), some(), calibrate.Options{
		Every: 2, Save: func(*calibrate.Checkpoint) error { return full }}); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}
