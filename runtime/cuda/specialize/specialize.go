package specialize

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Options are what Specialize needs beside the model.
type Options struct {
	// Shapes are those of the inputs, by name.
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
}

// Static is a model for one set of input shapes.
type Static struct {
	// Model has the original's inputs, then the variables, with fixed shapes; nodes in an order in which they can run; the original's
	// outputs, then the kept values. Its tensors are those of the original or were computed. The original is not changed.
	Model *graph.Model

	// Types holds element type and shape of every value of the main graph for which both are known: all extents fixed. What is
	// missing depends on the data.
	Types map[string]graph.Type
}
