package program

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// builder makes a program: it is one attempt of [Build], which starts anew with another builder when a node turns out to be the host's.
// So a lower that refuses may leave steps and definitions behind.
//
// A value of the model is, while building, in one of these states: a tensor on the GPU; lazy, an elementwise expression that nobody has
// needed in memory yet; or on the host, where a segment made it or the session gave it. get brings any of them to the GPU.
//
// The type that a value has on the GPU follows from the model's (held): whoever calls get gets that type, whoever calls define gives it.
type builder struct {
	st   *specialize.Static
	opt  Options
	prog *Program

	values map[string]*value // by their name in the static model
	lowers map[string]lower
	node   *graph.Node          // the one being lowered
	done   map[*graph.Node]bool // nodes that need no lowering any more: another's lower did their work

	readers map[string][]*graph.Node // who reads a value, itself or in a graph inside it; a node that reads it twice is there twice
	kept    map[string]bool          // outputs of the static model

	producer map[string]*graph.Node
	order    []run                    // the nodes by the side that they run on
	placed   map[int]bool             // of Program.Layers
	sparse   map[string]*graph.Sparse // initializers
	types    map[string]*graph.Type   // as the static model declares them, where it cannot tell them
	segments map[int]*Segment         // by their place among the steps
	host     map[*graph.Node]string   // the nodes that are the host's, and why
	layers   map[*graph.Node]*layer   // those that the GPU computes
	sources  map[string]*source       // what layers read; see demand
	weights  map[weightKey]*Tensor    // constants that are on the GPU
	made     map[*Segment][]*Buffer   // what the GPU gets of a segment
	scales   scales                   // that are stored
	dynamics dynamics                 // and those that a run makes
	marks    marks                    // amaxes, counts and faults of a run
	weighed  marks                    // and of Setup
	codes    map[string]*weightCodes
}

// value is what the builder knows of a value of the model.
type value struct {
	name    string
	typ     graph.Type // of the static model; the zero Type where unknown
	dims    []int64    // its extents; nil where unknown (a scalar has an empty slice)
	tensor  *Tensor    // where it lies on the GPU, nil: not there (yet)
	lazy    *expression
	content *tensor.Tensor // where it is an initializer
	role    role
	segment *Segment // that makes it, where role is fromSegment
	arrival *Tensor  // where it arrives from the host, in the model's own type
}

// role says where a value comes from.
type role uint8

const (
	fromNode     role = iota // of the GPU: its tensor is defined when the node was lowered
	fromInput                // of the session
	fromVariable             // of the session, and changes seldom
	fromContent              // an initializer
	fromSegment              // a node of the host
)

// lower makes the steps of a node. Where the GPU cannot run it, why says so in a few words, and the node becomes part of a segment; it is
// not called for nodes with an output that is of no type the GPU holds, of unknown shape, or without elements. An error ends the build.
type lower func(b *builder, n *graph.Node) (why string, err error)

// held is the type in which the GPU holds values of a type of the model, None where it holds none.
func (b *builder) held(t tensor.DType) kernels.Type {
	switch t {
	case tensor.Float32, tensor.Float16:
		return b.opt.Compute
	case tensor.BFloat16:
		return kernels.BF16
	case tensor.Bool:
		return kernels.Bool
	case tensor.Int32:
		return kernels.I32
	case tensor.Int64:
		return kernels.I64
	}
	return kernels.None
}

// own is the type of the model as kernels name it, None where they have none: how values cross between host and GPU.
func own(t tensor.DType) kernels.Type {
	switch t {
	case tensor.Float32:
		return kernels.F32
	case tensor.Float16:
		return kernels.F16
	case tensor.BFloat16:
		return kernels.BF16
	case tensor.Bool:
		return kernels.Bool
	case tensor.Int32:
		return kernels.I32
	case tensor.Int64:
		return kernels.I64
	case tensor.Float8E4M3FN:
		return kernels.E4M3
	case tensor.Float8E5M2:
		return kernels.E5M2
	}
	return kernels.None
}

// value is the value called name; nil for "" and for what the static model does not have.
func (b *builder) value(name string) *value { return b.values[name] }

// dims are the extents of a value; ok is false where they are not known.
func (b *builder) dims(name string) (dims []int64, ok bool) {
	v := b.values[name]
	if v == nil || v.dims == nil {
		return nil, false
	}
	return v.dims, true
}

// typeOf is the element type of a value in the model; Undefined where it is not known, or no tensor.
func (b *builder) typeOf(name string) tensor.DType {
	v := b.values[name]
	if v == nil || v.typ.Kind != graph.TensorKind {
		return tensor.Undefined
	}
	return v.typ.DType
}

// constant is the content of a value that is an initializer (and no variable), nil for others.
func (b *builder) constant(name string) *tensor.Tensor {
	if v := b.values[name]; v != nil {
		return v.content
	}
	return nil
}

// ints is the content of a constant of int64 or int32.
func (b *builder) ints(name string) (v []int64, ok bool) {
	t := b.constant(name)
	if t == nil {
		return nil, false
	}
	v, err := t.AsInt64s()
	return v, err == nil
}

// uses is how often nodes read a value; being an output of the static model counts as one more.
func (b *builder) uses(name string) int {
	n := len(b.readers[name])
	if b.kept[name] {
		n++
	}
	return n
}

// reader is the node that alone reads a value, once, and runs on the GPU; nil where there is none, or the value is an output of the model.
// Whoever does its work marks it done and defines its outputs.
func (b *builder) reader(name string) *graph.Node {
	r := b.readers[name]
	if len(r) != 1 || b.kept[name] || b.host[r[0]] != "" || b.done[r[0]] {
		return nil
	}
	return r[0]
}

// get is a value on the GPU, in the type of held, by any strides. A lazy value is materialized, a constant becomes a weight, an input or a
// value of the host is brought. why says what keeps it from the GPU.
func (b *builder) get(name string) (t *Tensor, why string) {
	return b.bring(name)
}

// getDense is get and contiguous.
func (b *builder) getDense(name string) (t *Tensor, why string) {
	if t, why = b.get(name); t != nil {
		t = b.contiguous(t)
	}
	return t, why
}

// getOwn is getDense, but a constant of a floating-point type stays in the model's own type (F32, F16 or BF16): for weights of norms,
// tables and the like that kernels read in any.
func (b *builder) getOwn(name string) (t *Tensor, why string) {
	if c := b.constant(name); c != nil {
		if o := own(c.DType); o == kernels.F32 || o == kernels.F16 || o == kernels.BF16 {
			return b.weight(c, o), ""
		}
	}
	return b.getDense(name)
}

// define says where the value called name lies. It has the value's type and dims.
func (b *builder) define(name string, t *Tensor) {
	if name != "" {
		b.values[name].tensor = t
	}
}

// defineLazy says what computes the value called name, once somebody needs it.
func (b *builder) defineLazy(name string, e *expression) {
	if name != "" {
		b.values[name].lazy = e
	}
}

// new is a new contiguous array in the arena.
func (b *builder) new(t kernels.Type, dims ...int64) *Tensor {
	return dense(&Buffer{}, t, dims)
}

// contiguous is t itself, or a copy of it that is contiguous and lies at a multiple of 16 bytes.
func (b *builder) contiguous(t *Tensor) *Tensor {
	if t.Contiguous() && t.Offset%16 == 0 {
		return t
	}
	return b.copy(t)
}

// cast is a cast to float8 that layers want of a value, or its amax. It happens once: by the value's own producer, which asks with demand
// and then says fulfilled, or by a launch of its own when the first layer is lowered.
type cast struct {
	Codes *Tensor // where codes go: [rows, Ld] of E4M3, contiguous; nil: only the amax is wanted
	Scale *Tensor // a float32 that multiplies
	Amax  *Tensor // a float32 to raise
	Cols  int64   // length of the layers' rows
	Ld    int64   // codes from row to row; Cols, or more: then zeros stand between
	Only  bool    // nothing else reads the value: it need not be written, and then is never defined

	group *group
}

// demand is the cast that is wanted of the value called name, whose producer writes it row by row of cols elements (0: as one row of all
// of them). It is nil where nothing is wanted, or what is wanted must be a launch of its own.
//
//	q := b.demand(n.Outputs[0], cols)
//	y := b.new(...)                 // not where q.only()
//	b.emit(Step{..., Launch: ... kernels.Norm{Y: l.Addr(y), Codes: q.codes(l)}})
//	b.fulfilled(q)
//	b.define(n.Outputs[0], y)       // not where q.only()
//
// The step reads q.reads() and writes q.writes(), all of which may be called on nil.
func (b *builder) demand(name string, cols int64) *cast {
	return b.wanted(name, cols)
}

// fulfilled says that a step of the producer does the cast. q may be nil.
func (b *builder) fulfilled(q *cast) {
	if q != nil {
		q.group.fulfil()
	}
}

// only says whether the value itself need not be written.
func (q *cast) only() bool { return q != nil && q.Only }

// codes is the cast as kernels are given it.
func (q *cast) codes(l *Launcher) kernels.Codes {
	if q == nil {
		return kernels.Codes{}
	}
	c := kernels.Codes{Amax: l.Addr(q.Amax)}
	if q.Codes != nil {
		c.To, c.Scale, c.Format = l.Addr(q.Codes), l.Addr(q.Scale), kernels.E4M3
		if q.Ld != q.Cols {
			c.Ld = q.Ld // else the producer's rows may be others than the layers'
		}
	}
	return c
}

// reads are the buffers that a step which does the cast reads beside its own.
func (q *cast) reads() []*Buffer {
	if q == nil || q.Codes == nil {
		return nil
	}
	return buffers(q.Scale)
}

// writes are the buffers that a step which does the cast writes beside its own.
func (q *cast) writes() []*Buffer {
	if q == nil {
		return nil
	}
	return buffers(q.Codes, q.Amax)
}

// emit adds a step. Node and Op are those of the node being lowered where the step names none. Reads and Writes must name the buffer of
// every address that Launch takes: memory is planned by them.
func (b *builder) emit(s Step) {
	b.named(&s)
	b.prog.Steps = append(b.prog.Steps, s)
}

// setup adds a step to those that run before the first run, and again after a variable changed. It may read weights and variables.
func (b *builder) setup(s Step) {
	b.named(&s)
	b.prog.Setup = append(b.prog.Setup, s)
}

func (b *builder) named(s *Step) {
	if s.Node == "" && s.Op == "" && b.node != nil {
		s.Node, s.Op = b.node.Name, b.node.OpType
	}
}

// also lowers a node that the model does not have, whose inputs are values and whose outputs are declared with declare: how one lower uses
// another.
func (b *builder) also(n *graph.Node) (why string, err error) {
	f := b.lowers[operator(n)]
	if f == nil {
		return "no kernel for " + n.OpType, nil
	}
	before := b.node
	defer func() { b.node = before }()
	return f(b, n)
}

// declare adds a value that the model does not have, of a type of the model; uses says how many nodes will read it.
func (b *builder) declare(name string, t tensor.DType, dims []int64, uses int) {
	typ := graph.Type{DType: t, HasShape: true}
	for _, d := range dims {
		typ.Shape = append(typ.Shape, graph.Dim{Value: d})
	}
	b.values[name] = &value{name: name, typ: typ, dims: dims}
	b.readers[name] = make([]*graph.Node, uses)
	for i := range b.readers[name] {
		b.readers[name][i] = b.node
	}
}

// fault is a flag, a uint32 that is zero before a run, which a step raises when the data makes the node impossible: the run then fails with
// message.
func (b *builder) fault(message string) *Tensor {
	flag := b.marks.slot(kernels.I32)
	b.prog.Faults = append(b.prog.Faults, Fault{Node: b.node.Name, Op: b.node.OpType, Flag: flag, Message: message})
	return flag
}

// buffers are those of tensors, nil ones left out.
func buffers(tensors ...*Tensor) []*Buffer {
	var all []*Buffer
	for _, t := range tensors {
		if t != nil {
			all = append(all, t.Buffer)
		}
	}
	return all
}

// operator is the name of a node's operator in a table of lowers: "Add" for ONNX's own, "com.microsoft.Gelu" for others'.
func operator(n *graph.Node) string {
	if d := graph.CanonicalDomain(n.Domain); d != "" {
		return d + "." + n.OpType
	}
	return n.OpType
}
