package program

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Options are what a program is built for.
type Options struct {
	Card    driver.Info
	Compute kernels.Type // what float32 values of the model are held and computed in: F32 or BF16

	// Plan asks cuBLASLt for an algorithm; nil, as in tests, takes every product that lt.Why accepts.
	Plan func(lt.Problem) (*lt.Plan, error)

	// Variables is the content of the variables at the moment, by name: layers with equal scales share a cast. See Program.Equal.
	Variables map[string]*tensor.Tensor

	// Statistics asks for counts of saturated and flushed elements.
	Statistics bool

	// Exact has float8 products summed in float32, instead of the tensor cores' own accumulators: slower. On a card whose float8 tensor
	// cores cannot do that the codes are multiplied in bfloat16, which holds them exactly.
	Exact bool

	// Layers are the names of the model's Float8Linear layers in the order of the session.
	Layers []string
}

// Program is a static model as a list of steps.
type Program struct {
	// Setup runs once, and again after the content of a variable changed; Steps at every run. Both in order.
	Setup, Steps []Step

	// Inputs are copied to the GPU before a run, as the model has them; Variables before Setup. An input that only the processor reads
	// is not among them.
	Inputs, Variables []Transfer

	// Outputs are read after a run, in the order of the static model's outputs; Tensor is nil for one that a Segment left on the host
	// under its name, or that is an input, a variable or a constant.
	Outputs []Transfer

	Weights      []*Buffer // filled once
	State        []*Buffer // that Setup fills, and inputs, variables, outputs: kept for as long as the program
	Arena        int64     // bytes that the activations need; each has its offset there
	Cleared      []*Buffer // set to zero before every run: amaxes, counts, faults. SetupCleared: before Setup
	SetupCleared []*Buffer

	Layers []Layer
	Faults []Fault
	Placed []runtime.Placement

	// Equal are groups of variables that were equal when the program was built and that it takes for one: when they differ the
	// program must be built anew.
	Equal [][]string
}

// Step is one launch, or a part of the model that the processor runs.
type Step struct {
	Node, Op, Layer string // see runtime.StepTime
	Kernel          string
	FLOPs, Bytes    float64
	Reads, Writes   []*Buffer
	Launch          func(*Launcher) error // nil for a segment
	Segment         *Segment
}

// Segment is a part of the model that the processor runs.
type Segment struct {
	Model *graph.Model
	// In are values that lie on the GPU and are read from there first, contiguous and of the model's own type. All other inputs of
	// Model are on the host: inputs of the session, variables, or outputs of earlier segments.
	In []Transfer
	// Out are the outputs of Model that the GPU needs, contiguous and of the model's own type; all outputs stay on the host as well.
	Out []Transfer
}

// Transfer is a value and its array on the GPU.
type Transfer struct {
	Name   string
	Tensor *Tensor
}

// Layer says where the statistics of a Float8Linear lie after a run; nil where there are none.
type Layer struct {
	Name                    string
	AmaxInput, AmaxWeight   *Tensor  // float32 scalars
	CountInput, CountWeight *Tensor  // three uint64: saturated, flushed, not finite
	Input, Weight           int64    // how many elements were cast
	Segment                 *Segment // that runs the layer on the processor, whose session has its statistics
}

// Fault is a flag, a uint32, that a kernel raises when the data makes a node impossible.
type Fault struct {
	Node, Op string
	Flag     *Tensor
	Message  string
}

// Launcher is what a step launches with.
type Launcher struct {
	Context *driver.Context
	Kernels Kernels
	LT      Multiplier
	Stream  driver.Stream
	Base    func(*Buffer) driver.Ptr
}

// Multiplier computes products; it is an [*lt.Handle].
type Multiplier interface {
	Plan(c *driver.Context, p lt.Problem) (*lt.Plan, error)
	Matmul(c *driver.Context, plan *lt.Plan, o lt.Operands, s driver.Stream) error
	Spread(c *driver.Context, dst, src driver.Ptr, n int, s driver.Stream) error
}

// Addr is where the first element of t lies; 0 for nil.
func (l *Launcher) Addr(t *Tensor) driver.Ptr {
	if t == nil {
		return 0
	}
	return l.Base(t.Buffer) + driver.Ptr(t.Offset)
}
