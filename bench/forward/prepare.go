package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// prepare writes the four models: llama and the transformer, as they are and converted with scales of one batch.
func prepare(ctx context.Context, o options, dir string) ([]string, error) {
	if err := os.CopyFS(filepath.Join(dir, "llama"), os.DirFS(filepath.Join(o.dir, "llama"))); err != nil {
		return nil, err
	}
	llama, err := onnxio.Open(filepath.Join(dir, "llama", "model.onnx"))
	if err != nil {
		return nil, err
	}
	defer llama.Close()
	var out []string
	for _, m := range []struct {
		name  string
		model *graph.Model
	}{{"llama", llama.Model}, {"transformer", transformer()}} {
		converted, err := rewrite.Convert(ctx, m.model, rewrite.Options{Recipe: scaling.DefaultRecipe()})
		if err != nil {
			return nil, err
		}
		if err := observe(ctx, converted.Model); err != nil {
			return nil, err
		}
		for _, f := range []struct {
			name  string
			model *graph.Model
		}{{m.name, m.model}, {m.name + "-float8", converted.Model}} {
			path := filepath.Join(dir, f.name+".onnx")
			if _, err := onnxio.Save(ctx, path, f.model, onnxio.SaveOptions{}); err != nil {
				return nil, err
			}
			out = append(out, path)
		}
	}
	return out, nil
}

// observe gives every layer the scale of one batch, as calibration would.
func observe(ctx context.Context, m *graph.Model) error {
	s, err := cpu.New().Open(ctx, m, runtime.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	res, err := s.Run(ctx, map[string]runtime.Value{s.Inputs()[0].Name: runtime.FromTensor(batch(m.Graph.Inputs[0].Type.DType))})
	if err != nil {
		return err
	}
	amax := map[string]float32{}
	for _, l := range res.Layers {
		amax[l.Layer] = l.AmaxInput
	}
	recipe := scaling.DefaultRecipe()
	for _, n := range m.Graph.Nodes {
		if !ops.IsFloat8Linear(n) {
			continue
		}
		scale := recipe.Scale(ops.QuantMax(0), amax[ops.LayerName(n)], 1)
		m.Graph.Initializer(n.Input(ops.InScaleInput)).Tensor = tensor.Float32s(nil, float32(scale))
	}
	return nil
}
