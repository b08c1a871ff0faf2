package program

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	_ "github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// builder makes a program, node by node in the order of the static model.
//
// A value of the model is, while building, in one of these states: a tensor on the GPU; lazy, an elementwise expression that nobody has
// needed in memory yet; or on the host, where a segment made it or the session gave it. get brings any of them to the GPU.
type builder struct {
	st   *specialize.Static
	opt  Options
	prog *Program
	// values by their name in the static model
	values map[string]*value
	node   *graph.Node // the one being lowered
}

// value is what the builder knows of a value of the model.
type value struct {
	name   string
	typ    graph.Type     // of the static model; the zero Type where unknown
	tensor *Tensor        // where it lies on the GPU, nil: not there (yet)
	lazy   *expression    // what computes it, where tensor is nil
	host   bool           // it is (also) on the host under its name
	const_ *tensor.Tensor // its content where it is an initializer
	uses   int            // how many nodes read it; graph outputs count as one
}

// lower makes the steps of a node. ok is false, with the reason, where the GPU cannot run it: then nothing was emitted, and the node
// becomes part of a segment.
type lower func(b *builder, n *graph.Node) (why string, err error)
