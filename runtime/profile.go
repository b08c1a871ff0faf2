package runtime

import (
	"context"
	"time"
)

// Placer is a Session that executes parts of a model in different places and can say which.
type Placer interface {
	// Placements are the nodes that do not run where, or as, one would expect of the engine, in the order of execution, as far as it
	// is known: an engine that plans for the shapes of its inputs knows it after the first run.
	Placements() []Placement
}

// Placement says where a node runs instead, and why.
type Placement struct {
	Node, Op string
	Layer    string // of a Float8Linear, "" otherwise
	Where    string // "cpu", or the type that a float8 layer is computed in, such as "bfloat16"
	Why      string
}

// Profiler is a Session that can time its parts.
type Profiler interface {
	// Profile runs the model runs times on inputs that are in the engine's memory already, as a whole and then step by step. The
	// whole is faster than the sum of its steps where they overlap or are launched together.
	Profile(ctx context.Context, inputs map[string]Value, runs int) (*Profile, error)
}

// Profile is where a run's time goes.
type Profile struct {
	Device  string        // the device's name
	Total   time.Duration // a run of the whole model, median; transfers of inputs and outputs excluded
	Totals  []time.Duration
	Steps   []StepTime // in the order of execution
	Weights int64      // bytes held on the device for weights
	Arena   int64      // bytes held there for activations
}

// StepTime is one step: a kernel, a product, a copy, or nodes that run on the host.
type StepTime struct {
	Node, Op string // of the node that it belongs to; a step that several nodes were fused into names the last
	Layer    string // the Float8Linear or linear layer that it is a part of, "" otherwise
	Kernel   string // what runs, such as "cast e4m3", "matmul e4m3 8192x4096x4096", "cpu"
	Time     time.Duration
	FLOPs    float64 // floating-point operations of products and attention, 0 elsewhere
	Bytes    float64 // that must be read and written once
}
