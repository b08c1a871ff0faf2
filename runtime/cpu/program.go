package cpu

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// program is one graph with everything that it calls in its own scope: steps over numbered slots. A graph inside a node (a branch, a
// body) is a program of its own.
type program struct {
	graph    *graph.Graph // the graph that it was made from
	slots    int
	inputs   []int
	outputs  []int // the graph's, then those that the caller wants to see
	captures []capture
	consts   map[int]*constant
	steps    []*step
	unread   []int               // inputs and captures that no step reads
	declared map[int]*graph.Type // what the file says of values

	// What lives finds of consts, for every run.
	fixed   []fixedSlot
	isConst []bool

	// frame holds the values of a run. A program never calls itself, so that one is enough.
	frame []kernel.Value
}

// capture takes a value of the program around this one.
type capture struct{ from, to int }

// fixedSlot is a slot that holds a constant.
type fixedSlot struct {
	slot  int
	value *constant
}

// constant is a value that is there before the first step. A variable one may change between runs: nothing may be derived from it
// beforehand.
type constant struct {
	value    kernel.Value
	variable bool
}

// absent is the slot of an input or output that is left out.
const absent = -1

// step is one operator call.
type step struct {
	node  *graph.Node // attributes are values
	name  string      // for errors: with the path of the functions around it
	opset int64
	in    []int
	out   []int // absent where nobody reads it

	maker    kernel.Maker // nil for a step of control
	fn       kernel.Func
	control  control
	captures []int // slots that the graphs inside read
	layer    *layer
	layers   bool // is a Float8Linear, or holds one

	call kernel.Call
	free []int // slots that nobody reads after this step

	held    []*step // the steps that a fused one stands for
	inPlace bool    // may write over an input
	rotate  int     // half the row that a half turn works on, 0 for another step
}

// control is an operator that holds graphs.
type control interface {
	// run computes c's outputs in a frame of the program that holds the step.
	run(x *exec, frame []kernel.Value, c *kernel.Call) error
	// programs are the graphs in the order of the attributes.
	programs() []*program
}

// op is the operator's name with its domain, where that is not ONNX's own.
func (s *step) op() string { return key(s.node) }
