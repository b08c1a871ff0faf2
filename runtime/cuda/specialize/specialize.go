package specialize

import (
	"context"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Options are what Specialize needs beside the model.
type Options struct {
	// Shapes are those of the inputs, by name. An input that is not named must have a fixed type, or a default in the model, which
	// then is a constant.
	Shapes map[string]tensor.Shape

	// Variables are initializers whose content may change between runs: nothing that follows from them is computed beforehand. They
	// become inputs of the static model.
	Variables []string

	// Keep are values of the main graph that must survive under their names, beside the outputs.
	Keep []string

	// Engine computes what is constant.
	Engine runtime.Backend

	// MaxFold bounds the bytes of one constant that is computed; what is larger stays a node. 0 means 1 GiB.
	MaxFold int64

	// MaxHead bounds the heads of queries that become an Attention; larger ones stay products and Softmax. 0 means no bound.
	MaxHead int64
}

// Static is a model for one set of input shapes.
type Static struct {
	// Model has the original's inputs, then the variables, with fixed shapes; nodes in an order in which they can run; the original's
	// outputs, then the kept values that are not outputs anyway. Its tensors are those of the original or were computed. An output may
	// be an initializer, where it follows from the shapes, or an input. The original is not changed.
	//
	// It imports ONNX's own operators at version 23 or later, except where a node of the original cannot be lifted there: then at the
	// original's version, and operators of later versions are not used.
	Model *graph.Model

	// Types holds element type and shape of every value of the main graph for which both are known: all extents fixed. What is
	// missing depends on the data.
	Types map[string]graph.Type
}

// Specialize makes m static. What the engine cannot compute stays a node; the error is about the model or its inputs (an
// [runtime.InputError]), or ctx's own.
func Specialize(ctx context.Context, m *graph.Model, opt Options) (*Static, error) {
	if m.Graph == nil {
		return nil, fmt.Errorf("specialize: the model has no graph")
	}
	if opt.Engine == nil {
		return nil, fmt.Errorf("specialize: there is no engine to compute constants with")
	}
	w, err := newWork(m, opt)
	if err != nil {
		return nil, err
	}
	w.expand()
	w.lift()
	if err := w.sort(); err != nil {
		return nil, err
	}
	w.constants()
	// Patterns that have parts in common with others are found before these are shared; patterns whose own parts are written twice, after.
	for _, share := range []bool{false, true} {
		if err := w.settle(ctx, share); err != nil {
			return nil, err
		}
		w.canonical()
	}
	if err := w.settle(ctx, true); err != nil {
		return nil, err
	}
	return w.static()
}
