package main

import (
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// readInputAmaxes reads the amax of the input of each calibrated layer, by name, from a converted ONNX model or a float8-linear checkpoint.
func readInputAmaxes(path string) (amaxes map[string]float32, err error) {
	if checkpoint.IsCheckpoint(path) {
		src, err := checkpoint.Open(path)
		if err != nil {
			return nil, explainOpen(path, err)
		}
		defer src.Close()
		err = mapfile.Guard(func() error { amaxes, err = src.InputAmaxes(); return err })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	} else {
		file, err := onnxio.Open(path)
		if err != nil {
			return nil, explainOpen(path, err)
		}
		defer file.Close()
		amaxes = map[string]float32{}
		err = mapfile.Guard(func() error {
			return inputAmaxes(graph.NewScope(file.Model.Graph, nil, nil), convertedWith(file.Model), amaxes)
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if len(amaxes) == 0 {
		return nil, hint(fmt.Errorf("%s: no layer in it is calibrated", path), "fp8rewrite calibrate makes a calibrated model of what fp8rewrite convert makes")
	}
	return amaxes, nil
}

// convertedWith is the recipe that a model was converted with, as far as it says so.
func convertedWith(m *graph.Model) scaling.Recipe {
	if text, ok := m.Property(ops.MetadataRecipe); ok {
		if r, err := scaling.Parse(text); err == nil {
			return r
		}
	}
	return scaling.DefaultRecipe()
}

// inputAmaxes adds the layers of a graph and of the graphs inside it.
func inputAmaxes(s *graph.Scope, recipe scaling.Recipe, to map[string]float32) error {
	for _, n := range s.Graph.Nodes {
		for _, a := range n.Attributes {
			for _, inner := range append(append([]*graph.Graph{}, a.Graphs...), a.Graph) {
				if inner == nil {
					continue
				}
				if err := inputAmaxes(s.Inner(inner, n), recipe, to); err != nil {
					return err
				}
			}
		}
		if !ops.IsFloat8Linear(n) {
			continue
		}
		l, err := ops.ReadLayer(n)
		if err != nil {
			return err
		}
		if l.Variant.Input != ops.InputDelayed {
			continue
		}
		name := ops.LayerName(n)
		history, err := stateOf(s, l.AmaxHistoryInput)
		if err != nil {
			return fmt.Errorf("layer %q: %w", name, err)
		}
		amax := recipe.Reduce(history)
		if !scaling.Usable(amax) { // frozen scales come without a history
			scale, err := stateOf(s, l.ScaleInput)
			if err != nil {
				return fmt.Errorf("layer %q: %w", name, err)
			}
			if l.Initialized != "" && !isSet(s, l.Initialized) || len(scale) != 1 || !scaling.Usable(scale[0]) {
				continue
			}
			amax = l.QuantMax / scale[0]
		}
		to[strings.TrimPrefix(name, "/")] = amax
	}
	return nil
}

func stateOf(s *graph.Scope, name string) ([]float32, error) {
	if name == "" {
		return nil, nil
	}
	src := s.Find(name)
	if src.Constant == nil || src.Constant.Tensor == nil {
		return nil, fmt.Errorf("its state %q is no initializer", name)
	}
	return src.Constant.Tensor.AsFloat32s()
}

func isSet(s *graph.Scope, name string) bool {
	src := s.Find(name)
	if src.Constant == nil || src.Constant.Tensor == nil || src.Constant.Tensor.DType != tensor.Bool {
		return false
	}
	set, err := src.Constant.Tensor.AsBool()
	return err == nil && set
}
