package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// checkFolder finds flags that make no sense for the kind of input or output.
func (o *calibrateOptions) checkFolder(in string) error {
	folder := checkpoint.IsCheckpoint(in)
	switch {
	case !folder && len(o.include)+len(o.exclude) > 0:
		return hint(usagef("--include and --exclude are for a checkpoint's folder: the layers of %q are converted already", in), "fp8rewrite convert has them too")
	case folder && isState(o.out) && o.shard != "":
		return hint(usagef("--shard leaves a part of the state, which merge takes from models"), "-o %s", shellWord(strings.TrimSuffix(o.out, ".safetensors")+".onnx"))
	case folder && isState(o.out) && o.freeze:
		return hint(usagef("--freeze is about weights, and %q has none", o.out), "leave --freeze out")
	}
	return nil
}

// isState reports whether an output is a file of scales alone.
func isState(out string) bool { return strings.HasSuffix(strings.ToLower(out), ".safetensors") }

// convertFolder makes Float8Linear of the layers that fp8rewrite convert would convert with the same patterns, in a graph that was built from src.
func (o *calibrateOptions) convertFolder(ctx context.Context, m *graph.Model, src *checkpoint.Source) (*graph.Model, error) {
	choice := &convertOptions{include: o.include, exclude: o.exclude}
	choice.ckpt.layout, choice.ckpt.tp = "float8-linear", 1
	opt, err := choice.conversionOptions(src)
	if err != nil {
		return nil, err
	}
	c, err := checkpoint.NewConversion(src, opt)
	if err != nil {
		return nil, choice.explainConversion(src.Path, err)
	}
	names, _ := c.Names()
	if len(names) == 0 {
		return nil, hint(fmt.Errorf("%s: no layer is left to calibrate", src.Path), "fp8rewrite convert %s --dry-run --all", shellWord(src.Path))
	}
	to := rewrite.Options{Recipe: scaling.DefaultRecipe()}
	for _, name := range names {
		p, err := rewrite.ParsePattern(rewrite.Literal(name))
		if err != nil {
			return nil, err
		}
		to.Include = append(to.Include, p)
	}
	res, err := rewrite.Convert(ctx, m, to)
	if err != nil {
		return nil, err
	}
	return res.Model, nil
}

// saveState writes the state of the inputs of all layers, under the names of the float8-linear layout, as convert --input-scales reads it.
func saveState(path string, m *graph.Model) (onnxio.SaveResult, error) {
	var list []safetensors.Tensor
	scope := graph.NewScope(m.Graph, nil, nil)
	recipe := convertedWith(m)
	for _, n := range m.Graph.Nodes {
		if !ops.IsFloat8Linear(n) {
			continue
		}
		l, err := ops.ReadLayer(n)
		if err != nil {
			return onnxio.SaveResult{}, err
		}
		history, err := stateOf(scope, l.AmaxHistoryInput)
		if err != nil {
			return onnxio.SaveResult{}, err
		}
		scale, err := stateOf(scope, l.ScaleInput)
		if err != nil {
			return onnxio.SaveResult{}, err
		}
		add := func(what string, v ...float32) {
			list = append(list, safetensors.Tensor{Name: ops.LayerName(n) + ".fp8_" + what + "_input", Tensor: tensor.Float32s(tensor.Shape{int64(len(v))}, v...)})
		}
		add("amax", recipe.Reduce(history))
		add("amax_history", history...)
		add("scale", scale...)
	}
	safetensors.Order(list)
	f, err := atomicfile.Create(path)
	if err != nil {
		return onnxio.SaveResult{}, err
	}
	defer f.Discard()
	size, err := safetensors.Write(f, list, map[string]string{layout.MetadataLayout: "float8-linear", ops.MetadataRecipe: recipe.String()})
	if err == nil {
		err = f.Commit()
	}
	return onnxio.SaveResult{Bytes: size}, err
}
