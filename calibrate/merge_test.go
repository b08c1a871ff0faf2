package calibrate_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// shards calibrates both halves of a model, each with its own model, data and name of the data.
func shards(t *testing.T, first, second *graph.Model, a, b rows, nameA, nameB string) []*graph.Model {
	t.Helper()
	half := func(i int, m *graph.Model, src rows, name string) *graph.Model {
		return run(t, m, src, calibrate.Options{Shard: calibrate.Shard{Index: i, Count: 2}, Data: name, Force: true}).Model
	}
	return []*graph.Model{half(0, first, a, nameA), half(1, second, b, nameB)}
}

// even are the batches of some that two shards can share.
func even() rows {
	r := some()
	r.batches = r.batches[:4]
	return r
}

func TestShardsOfDifferentRunsAreRefused(t *testing.T) {
	ctx := context.Background()
	m := layerModel(t, rewrite.Options{})
	data := even()
	smaller := even()
	smaller.batches[0] = smaller.batches[0][:6]
	before := func(v float32) *graph.Model {
		// A history of three of which a run of two steps leaves one.
		return run(t, m, rows{"x", [][][]float32{{{v, 0, 0, 0}}}}, calibrate.Options{}).Model
	}
	two := data.first(2)
	for name, c := range map[string]struct {
		models []*graph.Model
		want   string // of the error, "" where there is none
	}{
		"one run":                        {shards(t, m, m, data, data, "d", "d"), ""},
		"a model that names no data":     {shards(t, m, m, data, data, "", "d"), ""},
		"other data":                     {shards(t, m, m, data, data, "d", "e"), "model 2: calibrated with other data"},
		"other batches":                  {shards(t, m, m, data, smaller, "", ""), "model 2: calibrated in batches of 6 rows, the ones before it of 8"},
		"one starting state":             {shards(t, before(3), before(3), two, two, "d", "d"), ""},
		"another amax before the run":    {shards(t, before(3), before(7), two, two, "d", "d"), `model 2: history "a.fp8_amax_history_input"`},
		"no amax before one of the runs": {shards(t, before(3), m, two, two, "d", "d"), `model 2: history "a.fp8_amax_history_input"`},
	} {
		for _, turned := range []bool{false, true} {
			models := c.models
			if turned {
				models = []*graph.Model{models[1], models[0]}
			}
			merged, err := calibrate.Merge(ctx, models...)
			if c.want == "" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				} else if p := merged.Provenance; p.Batch != 8 || p.Data != "d" {
					t.Errorf("%s: provenance %+v", name, p)
				}
				continue
			}
			var bad *calibrate.MergeError
			if !errors.As(err, &bad) || bad.Model != 1 || !turned && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, turned %t: got %v, want %s", name, turned, err, c.want)
			}
		}
	}
}

// Runs over all rows of different data are not shards, and are merged as before.
func TestWholesOfDifferentDataMerge(t *testing.T) {
	m := layerModel(t, rewrite.Options{})
	a, b := run(t, m, even(), calibrate.Options{Data: "d"}), run(t, m, even(), calibrate.Options{Data: "e"})
	merged, err := calibrate.Merge(context.Background(), a.Model, b.Model)
	if err != nil || merged.Provenance.Data != "" || merged.Provenance.Batch != 0 {
		t.Errorf("got %+v, %v", merged, err)
	}
}

func TestModelsWithOtherSparseTensorsAreNotMerged(t *testing.T) {
	sparse := func(value float32, at int64) *graph.Sparse {
		return &graph.Sparse{Name: "s", Shape: tensor.Shape{4}, Values: tensor.Float32s(tensor.Shape{1}, value), Indices: tensor.Int64s(tensor.Shape{1}, at)}
	}
	attribute := func(s *graph.Sparse) func(*graph.Model) {
		return func(m *graph.Model) {
			for _, n := range m.Graph.Nodes {
				if n.OpType == "Relu" { // the engine looks at no attribute of a Relu
					n.Attributes = append(n.Attributes, &graph.Attribute{Name: "s", Kind: graph.AttrSparse, Sparse: s})
				}
			}
		}
	}
	initializer := func(s *graph.Sparse) func(*graph.Model) {
		return func(m *graph.Model) { m.Graph.Sparse = append(m.Graph.Sparse, s) }
	}
	parts := func(edits ...func(*graph.Model)) []*graph.Model {
		m := layerModel(t, rewrite.Options{})
		out := shards(t, m, m, even(), even(), "d", "d")
		for i, edit := range edits {
			edit(out[i])
		}
		return out
	}
	for name, c := range map[string]struct {
		edits []func(*graph.Model)
		equal bool
	}{
		"equal":                        {[]func(*graph.Model){initializer(sparse(1, 2)), initializer(sparse(1, 2))}, true},
		"another value":                {[]func(*graph.Model){initializer(sparse(1, 2)), initializer(sparse(3, 2))}, false},
		"another place":                {[]func(*graph.Model){initializer(sparse(1, 2)), initializer(sparse(1, 3))}, false},
		"equal attributes":             {[]func(*graph.Model){attribute(sparse(1, 2)), attribute(sparse(1, 2))}, true},
		"another value of attributes":  {[]func(*graph.Model){attribute(sparse(1, 2)), attribute(sparse(3, 2))}, false},
		"another place in attributes":  {[]func(*graph.Model){attribute(sparse(1, 2)), attribute(sparse(1, 0))}, false},
		"one more":                     {[]func(*graph.Model){initializer(sparse(1, 2))}, false},
		"an attribute that one has":    {[]func(*graph.Model){attribute(sparse(1, 2))}, false},
		"an initializer, an attribute": {[]func(*graph.Model){initializer(sparse(1, 2)), attribute(sparse(1, 2))}, false},
	} {
		_, err := calibrate.Merge(context.Background(), parts(c.edits...)...)
		var bad *calibrate.MergeError
		if c.equal && err != nil || !c.equal && !errors.As(err, &bad) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestAShardIsNotCalibratedFurtherBeforeItIsMerged(t *testing.T) {
	ctx := context.Background()
	m := layerModel(t, rewrite.Options{})
	parts := shards(t, m, m, even(), even(), "d", "d")
	_, err := calibrate.Run(ctx, parts[1], cpu.New(), even(), calibrate.Options{})
	if !errors.Is(err, calibrate.ErrShard) || !strings.Contains(err.Error(), "shard 2/2") || !strings.Contains(err.Error(), "merge the shards first") {
		t.Errorf("got %v", err)
	}
	run(t, parts[1], even(), calibrate.Options{Force: true})
	merged, err := calibrate.Merge(ctx, parts...)
	if err != nil {
		t.Fatal(err)
	}
	run(t, merged.Model, even(), calibrate.Options{Shard: calibrate.Shard{Index: 1, Count: 2}})
}
