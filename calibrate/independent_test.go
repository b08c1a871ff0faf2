package calibrate_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// centred is layerModel with the mean over an axis taken off between the layers: over the rows for axis 0.
func centred(t *testing.T, axis int64, opt rewrite.Options) *graph.Model {
	t.Helper()
	m := layerModel(t, opt)
	m.Graph.Initializers = append(m.Graph.Initializers, &graph.Initializer{Name: "axes", Tensor: tensor.Int64s(tensor.Shape{1}, axis)})
	var nodes []*graph.Node
	for _, n := range m.Graph.Nodes {
		nodes = append(nodes, n)
		if n.OpType == "Relu" {
			n.Outputs[0] = "before"
			nodes = append(nodes, &graph.Node{Name: "mean", OpType: "ReduceMean", Inputs: []string{"before", "axes"}, Outputs: []string{"mean"}},
				&graph.Node{Name: "centre", OpType: "Sub", Inputs: []string{"before", "mean"}, Outputs: []string{"r"}})
		}
	}
	m.Graph.Nodes = nodes
	return m
}

// spread runs the calibration on n ranks and gives every rank's error. No rank ends another one's.
func spread(n int, m *graph.Model, b runtime.Backend, src calibrate.Source) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, g := range calibrate.Local(n) {
		wg.Go(func() {
			_, errs[i] = calibrate.Run(context.Background(), m, b, src, calibrate.Options{Group: g, Threads: 1})
		})
	}
	wg.Wait()
	return errs
}

func TestRowsThatDependOnEachOtherAreNotShared(t *testing.T) {
	recipe := scaling.DefaultRecipe()
	dynamic, _ := recipe.ParseModes("i:dyn,w:dyn")
	late := some() // two rows come in the second step only
	late.batches[0] = late.batches[0][:1]
	small := some() // far below what a cast with scale 1 keeps
	for _, b := range small.batches {
		for _, row := range b {
			for i := range row {
				row[i] *= 1e-6
			}
		}
	}
	for name, c := range map[string]struct {
		opt  rewrite.Options
		data rows
	}{
		"float8 weights":                  {rewrite.Options{}, some()},
		"original weights":                {rewrite.Options{Weights: rewrite.OriginalWeights}, some()},
		"dynamic scales":                  {rewrite.Options{Weights: rewrite.OriginalWeights, Recipe: dynamic}, some()},
		"a first step of one row":         {rewrite.Options{}, late},
		"values that a cast would make 0": {rewrite.Options{}, small},
	} {
		t.Run(name, func(t *testing.T) {
			m := centred(t, 0, c.opt)
			run(t, m, c.data, calibrate.Options{}) // one process may
			var want string
			for i, err := range spread(3, m, cpu.New(), c.data) {
				var bad *calibrate.SpreadError
				if !errors.As(err, &bad) || bad.Over != "3 ranks" || !strings.Contains(bad.Why, `the rows of layer "b" depend on each other`) {
					t.Errorf("rank %d: got %v", i, err)
					continue
				}
				if want == "" {
					want = err.Error()
				}
				if err.Error() != want {
					t.Errorf("rank %d: got %v, rank 0 %s", i, err, want)
				}
			}
			for i, err := range spread(3, centred(t, 1, c.opt), cpu.New(), c.data) {
				if err != nil {
					t.Errorf("a mean within the row, rank %d: %v", i, err)
				}
			}
		})
	}

	var bad *calibrate.SpreadError
	for i := range 2 {
		_, err := calibrate.Run(context.Background(), centred(t, 0, rewrite.Options{}), cpu.New(), even(), calibrate.Options{Shard: calibrate.Shard{Index: i, Count: 2}})
		if !errors.As(err, &bad) || bad.Over != "2 shards" {
			t.Errorf("shard %d: got %v", i, err)
		}
	}
	single := rows{"x", [][][]float32{{{1, 2, 3, 4}}, {{5, 6, 7, 8}}}}
	for i, err := range spread(2, centred(t, 0, rewrite.Options{}), cpu.New(), single) {
		if err != nil { // there are no two rows that could depend on each other
			t.Errorf("batches of one row, rank %d: %v", i, err)
		}
	}
}

// called is the CPU engine under a name, with amaxes that grow by a part of themselves where there is more than one row.
type called struct {
	runtime.Backend
	name string
	grow float32
}

type calledSession struct {
	runtime.Session
	grow float32
}

func (c called) Name() string { return c.name }

func (c called) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	s, err := c.Backend.Open(ctx, m, opt)
	return calledSession{s, c.grow}, err
}

func (s calledSession) Run(ctx context.Context, in map[string]runtime.Value) (*runtime.Result, error) {
	res, err := s.Session.Run(ctx, in)
	if err == nil && in["x"].Tensor.Shape[0] > 1 {
		for i := range res.Layers {
			res.Layers[i].AmaxInput *= 1 + s.grow
		}
	}
	return res, err
}

func TestAnEngineThatIsNotExactToTheBitMayRoundRowsDifferently(t *testing.T) {
	for _, c := range []struct {
		engine string
		grow   float32
		refuse bool
	}{{"cpu", 0, false}, {"cpu", 1e-6, true}, {"ort", 1e-6, false}, {"ort", 5e-4, false}, {"ort", 5e-3, true}} {
		for i, err := range spread(2, layerModel(t, rewrite.Options{}), called{cpu.New(), c.engine, c.grow}, some()) {
			var bad *calibrate.SpreadError
			if refused := errors.As(err, &bad); refused != c.refuse || !refused && err != nil {
				t.Errorf("%+v, rank %d: %v", c, i, err)
			}
		}
	}
}
