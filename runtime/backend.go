package runtime

import (
	"context"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Backend is an engine that can execute models.
type Backend interface {
	// Name is how the engine is called on the command line and in a report, such as "cpu".
	Name() string

	// Check says why the engine cannot be used on this machine: an [UnavailableError], or nil.
	Check() error

	// Open plans m once for many runs. The model must not change while the session is open; its tensors are read where they lie
	// (a mapped file stays mapped until Close). The error is an [UnsupportedError] where the engine lacks an operator, a
	// [MemoryError] where the plan does not fit.
	Open(ctx context.Context, m *graph.Model, opt Options) (Session, error)
}

// Options are what a session is opened with. The zero value is good.
type Options struct {
	// Threads is how many threads compute; 0 means as many as the machine gives this process.
	Threads int

	// MaxMemory bounds, in bytes, what the session holds beside the model's own tensors: packed weights and activations. 0 means
	// no bound.
	MaxMemory int64

	// Keep names values of the main graph that Run returns beside the graph's outputs.
	Keep []string

	// Variables names initializers, at any depth, whose content [Session.Set] may replace between runs. Everything else may be
	// folded into the plan.
	Variables []string

	// Statistics asks for the counts of saturated and flushed elements, which cost a little; amaxes are always there.
	Statistics bool

	// AllReduceMax, where set, joins the amaxes of several workers: it replaces every element by the largest over all workers, and
	// by NaN where one worker has NaN. A session calls it once for every operand whose scale is made from the run's own amax, in
	// the order of [Session.Layers], the input of a layer before its weight, before that operand is cast; all workers run the same
	// model, so that the calls match. An engine that cannot call out in the middle of a run refuses to open.
	AllReduceMax func(ctx context.Context, amax []float32) error
}

// Session is a model ready to run. It is used by one goroutine at a time.
type Session interface {
	// Inputs are the values that Run needs, in the order of the model: graph inputs without a default. Their types are as declared.
	Inputs() []*graph.Value

	// Outputs are the names that Run returns: the graph's outputs in order, then Options.Keep.
	Outputs() []string

	// Layers are the names of the model's Float8Linear layers (see [ops.LayerName]) in the order of execution: a node before those
	// after it, the layers inside a node in the order of its attributes.
	Layers() []string

	// Plan says what a run with inputs of these shapes needs.
	Plan(shapes map[string]tensor.Shape) (Plan, error)

	// Set replaces the content of an initializer that Options.Variables named. The element type and shape stay.
	Set(name string, t *tensor.Tensor) error

	// Run executes the model. Inputs are named as in the model; every one of Inputs must be there, overridable initializers may be.
	// The error is an [InputError] for an input that does not fit, a [NodeError] for an operator that could not compute, a
	// [MemoryError], or ctx's error soon after ctx is cancelled. What Run returns belongs to the caller and stays valid after Close.
	Run(ctx context.Context, inputs map[string]Value) (*Result, error)

	// Close gives everything back. It may be called more than once.
	Close() error
}

// Plan is what a run needs, in bytes.
type Plan struct {
	Weights     int64 // weights held in the engine's own form, beside the model's mapped tensors
	Activations int64 // the largest sum of values alive at one time
	Scratch     int64 // buffers of the operators themselves
	Unknown     int   // values whose size is known only while running; Activations lacks them
}

// Peak is the sum of the parts.
func (p Plan) Peak() int64 { return p.Weights + p.Activations + p.Scratch }

// Result is what one run gave.
type Result struct {
	Values map[string]Value
	Layers []LayerStats // in the order of Session.Layers
}

// LayerStats is what one Float8Linear saw during a run. A layer in a Loop or Scan reports the maximum and the sums over its iterations.
type LayerStats struct {
	Layer string

	// Runs is how often the layer ran: 0 in a branch that was not taken, and then everything else is zero.
	Runs int64

	// AmaxInput is max|input|: Inf if an element is infinite, NaN if one is NaN, 0 for an input without elements.
	AmaxInput float32

	// AmaxWeight is max|weight| of a weight that is stored unquantized and cast during the run; 0 for one stored as float8.
	AmaxWeight float32

	// Input and Weight count the casts, where Options.Statistics asked and the engine can: else Counted is false.
	Input, Weight Counts
	Counted       bool
}

// Counts is what casts to float8 did to their elements.
type Counts struct {
	Elements  int64 // all elements that were cast
	Saturated int64 // beyond the format's largest finite value after scaling, infinities included
	Flushed   int64 // not zero before, zero after
	NonFinite int64 // Inf and NaN before the cast; an Inf is also among Saturated
}

// Add joins the counts of two parts.
func (c Counts) Add(o Counts) Counts {
	return Counts{c.Elements + o.Elements, c.Saturated + o.Saturated, c.Flushed + o.Flushed, c.NonFinite + o.NonFinite}
}
