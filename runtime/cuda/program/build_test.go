package program

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// hopper is the card that programs are built for here.
var hopper = driver.Info{Name: "a card of tests", Major: 9, SMs: 132}

func load(t testing.TB, path string) *graph.Model {
	t.Helper()
	f, err := onnxio.Open(filepath.Join("../../../testdata/models", path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Model
}

// converted is a model with Float8Linear layers.
func converted(t testing.TB, m *graph.Model, recipe string, weights rewrite.Weights) *graph.Model {
	t.Helper()
	r, err := scaling.Parse(recipe)
	if err != nil {
		t.Fatal(err)
	}
	res, err := rewrite.Convert(context.Background(), m, rewrite.Options{Recipe: r, Weights: weights})
	if err != nil {
		t.Fatal(err)
	}
	return res.Model
}

// scaleNames are the stored scales of a model's layers.
func scaleNames(m *graph.Model) []string {
	var names []string
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		if ops.IsFloat8Linear(n) {
			names = append(names, n.Input(ops.InScaleInput), n.Input(ops.InScaleWeight))
		}
	})
	return names
}

func layerNames(m *graph.Model) []string {
	var names []string
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		if ops.IsFloat8Linear(n) {
			names = append(names, ops.LayerName(n))
		}
	})
	return names
}

// build makes the program of m for one shape of its input. variables makes the scales of layers variables.
func build(t testing.TB, m *graph.Model, shape tensor.Shape, variables bool, opt Options) (*Program, *specialize.Static) {
	t.Helper()
	so := specialize.Options{Shapes: map[string]tensor.Shape{m.Graph.Inputs[0].Name: shape}, Engine: cpu.New()}
	opt.Layers = layerNames(m)
	if opt.Card.Name == "" {
		opt.Card = hopper
	}
	if opt.Compute == 0 {
		opt.Compute = kernels.F32
	}
	if variables {
		so.Variables = scaleNames(m)
		opt.Variables = map[string]*tensor.Tensor{}
		for _, name := range so.Variables {
			opt.Variables[name] = m.Graph.Initializer(name).Tensor
		}
	}
	st, err := specialize.Specialize(context.Background(), m, so)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Build(st, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p, st
}

// text is a program, a step in a line.
func text(p *Program) string {
	var s strings.Builder
	for _, part := range []struct {
		name  string
		steps []Step
	}{{"setup", p.Setup}, {"steps", p.Steps}} {
		fmt.Fprintf(&s, "%s\n", part.name)
		for _, x := range part.steps {
			fmt.Fprintf(&s, "  %s: %s %q", x.Op, x.Kernel, x.Layer)
			if x.Segment != nil {
				for _, n := range x.Segment.Model.Graph.Nodes {
					fmt.Fprintf(&s, " %s", n.OpType)
				}
			}
			s.WriteByte('\n')
		}
	}
	placed := map[string]int{}
	for _, pl := range p.Placed {
		placed[pl.Op+": "+pl.Where+": "+pl.Why]++
	}
	fmt.Fprintln(&s, placed)
	return s.String()
}
