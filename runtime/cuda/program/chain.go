package program

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
)

// What one launch of a kernels.Chain takes; the package kernels refuses more when it is launched, which is too late to do otherwise.
const (
	chainInputs = 6
	chainSteps  = 24
	chainSaved  = 3
	chainRank   = 5
	elseSlot    = 2 // where kernels.OpKeepIf finds what it takes where its operand is zero
)

// term is a node of an expression: a number, an array in memory, or an instruction on other terms. Terms are shared, so an expression is
// a graph without cycles.
type term struct {
	op   kernels.Op // 0: a number, or only in memory
	num  float32
	in   *Tensor // where it lies in memory; set later for a term that was materialized: who reads it then reads memory
	args []*term // as many as op takes; of kernels.OpKeepIf: the condition, what is taken where it holds, what elsewhere
}

// leaf reports whether an instruction can name the term as its operand wherever it stands.
func (t *term) leaf() bool { return t.in != nil || t.op == 0 }

// same reports whether two terms are certain to have the same value.
func same(a, b *term) bool {
	if a == b {
		return true
	}
	return a.in != nil && b.in != nil && sameView(a.in, b.in)
}

func sameView(a, b *Tensor) bool {
	return a == b || a.Buffer == b.Buffer && a.Offset == b.Offset && a.T == b.T && slices.Equal(a.Dims, b.Dims) && slices.Equal(a.Strides, b.Strides)
}

// depth is how many saved values the evaluation of a term takes, sharing left aside.
func (t *term) depth() int {
	if t.leaf() {
		return 0
	}
	if len(t.args) == 1 {
		return t.args[0].depth()
	}
	a, b := t.args[0].depth(), t.args[1].depth()
	switch {
	case len(t.args) == 3:
		return 1 + max(a, b, t.args[2].depth())
	case t.args[0].leaf() || t.args[1].leaf() || a != b:
		return max(a, b)
	}
	return a + 1
}

// chooses reports whether a term contains a choice, whose evaluation needs the slot of kernels.OpKeepIf.
func (t *term) chooses() bool {
	if t.leaf() {
		return false
	}
	return t.op == kernels.OpKeepIf || slices.ContainsFunc(t.args, (*term).chooses)
}

// reads reports whether the term takes anything from memory.
func (t *term) reads() bool { return t.in != nil || slices.ContainsFunc(t.args, (*term).reads) }

// chain is an expression as a kernels.Chain.
type chain struct {
	inputs  []*Tensor
	strides [][]int64 // of each input, in the dims of the chain
	steps   []kernels.Step
}

// compiler turns terms into the steps of a chain: one accumulator, three slots for saved values.
type compiler struct {
	chain
	dims  []int64
	acc   *term         // what the accumulator holds
	begun bool          // something was evaluated: the accumulator no longer holds input 0 by itself
	uses  map[*term]int // how many instructions have yet to read a term
	slots [chainSaved]slot
	fails bool
}

// slot is a saved value.
type slot struct {
	t    *term
	pins int // evaluations under way that rely on it
}

// compile is root as a chain of the given dims; ok is false where one launch does not hold it.
func compile(root *term, dims []int64) (*chain, bool) {
	c := &compiler{dims: dims, uses: map[*term]int{}}
	c.count(root)
	c.emit(root)
	if len(c.inputs) == 0 || len(c.inputs) > chainInputs || len(c.steps) > chainSteps || c.fails {
		return nil, false
	}
	strides := [][]int64{kernels.Strides(dims)}
	for _, in := range c.inputs {
		s, ok := spread(in, dims)
		if !ok {
			return nil, false
		}
		strides = append(strides, s)
	}
	c.strides = strides[1:]
	return &c.chain, joinedRank(dims, strides...) <= chainRank
}

// rows is how long the rows are that a chain of these dims can write with a gap after each, 0 where it can write none: their dimension then
// cannot be joined with others.
func (c *chain) rows(dims []int64) int64 {
	last := len(dims) - 1
	if last < 0 || joinedRank(dims[:last], append(slices.Clone(c.strides), kernels.Strides(dims))...)+1 > chainRank {
		return 0
	}
	return dims[last]
}

func (c *compiler) count(t *term) {
	c.uses[t]++
	if c.uses[t] > 1 || t.leaf() {
		return
	}
	for _, a := range t.args {
		c.count(a)
	}
}

func (c *compiler) step(op kernels.Op, with kernels.Operand) {
	c.steps = append(c.steps, kernels.Step{Op: op, With: with})
}

// input is the number of an array among the inputs.
func (c *compiler) input(t *Tensor) int {
	for i, in := range c.inputs {
		if sameView(in, t) {
			return i
		}
	}
	c.inputs = append(c.inputs, t)
	return len(c.inputs) - 1
}

// held is the slot that holds a term, -1 where none does.
func (c *compiler) held(t *term) int {
	return slices.IndexFunc(c.slots[:], func(s slot) bool { return s.t == t })
}

// ready reports whether a term can be an operand as things are.
func (c *compiler) ready(t *term) bool { return t.leaf() || c.held(t) >= 0 }

// operand is a term that is ready as an operand.
func (c *compiler) operand(t *term) kernels.Operand {
	switch {
	case t.in != nil:
		return kernels.Input(c.input(t.in))
	case t.op == 0:
		return kernels.Constant(t.num)
	}
	s := c.held(t)
	c.fails = c.fails || s < 0
	return kernels.Saved(max(s, 0))
}

// consume says that an instruction has read a term.
func (c *compiler) consume(t *term) {
	c.uses[t]--
	if s := c.held(t); s >= 0 && c.uses[t] <= 0 && c.slots[s].pins == 0 {
		c.slots[s].t = nil
	}
}

// free is a slot that holds nothing, -1 where there is none. The one of kernels.OpKeepIf comes last.
func (c *compiler) free() int {
	return slices.IndexFunc(c.slots[:], func(s slot) bool { return s.t == nil })
}

// hold saves the accumulator, which is t, unless it is saved, and keeps it there until release.
func (c *compiler) hold(t *term) {
	s := c.held(t)
	if s < 0 {
		if s = c.free(); s < 0 {
			c.fails = true
			return
		}
		c.slots[s].t = t
		c.step(kernels.OpSave, kernels.Saved(s))
	}
	c.slots[s].pins++
}

func (c *compiler) release(t *term) {
	if s := c.held(t); s >= 0 {
		c.slots[s].pins--
	}
}

// emit brings a term into the accumulator.
func (c *compiler) emit(t *term) {
	if c.fails || len(c.steps) > chainSteps {
		c.fails = true
		return
	}
	if c.acc == t {
		return
	}
	if !c.begun && t.in != nil {
		c.input(t.in) // input 0 is in the accumulator
		c.begun, c.acc = true, t
		return
	}
	if c.ready(t) {
		c.step(kernels.OpLoad, c.operand(t))
		c.begun, c.acc = true, t
		return
	}
	switch {
	case t.op == kernels.OpKeepIf:
		c.choose(t)
	case len(t.args) == 1:
		c.emit(t.args[0])
		c.step(t.op, kernels.Operand{})
		c.consume(t.args[0])
	default:
		c.join(t)
	}
	c.acc = t
	if c.uses[t] > 1 {
		// Others read it later; without a free slot they evaluate it again.
		if s := c.free(); s >= 0 {
			c.slots[s].t = t
			c.step(kernels.OpSave, kernels.Saved(s))
		}
	}
}

// join evaluates an instruction with two arguments.
func (c *compiler) join(t *term) {
	a, b := t.args[0], t.args[1]
	reverse, reversible := reversed(t.op)
	// One argument is evaluated last, into the accumulator; the other is the operand.
	last, other, op := a, b, t.op
	switch aReady, bReady := c.ready(a), c.ready(b); {
	case aReady && bReady:
		if c.acc == b && reversible {
			last, other, op = b, a, reverse
		}
	case bReady:
	case !reversible:
	case aReady, a.depth() >= b.depth():
		// What needs more slots goes first, and then waits in one.
		last, other, op = b, a, reverse
	}
	if !c.ready(other) {
		c.emit(other)
		if c.ready(last) && reversible {
			// It came about by the way, or always was.
			if op == t.op {
				op = reverse
			} else {
				op = t.op
			}
			last, other = other, last
		}
	}
	waits := !other.leaf()
	if waits {
		c.hold(other)
	}
	c.emit(last)
	c.step(op, c.operand(other))
	if waits {
		c.release(other)
	}
	c.consume(a)
	c.consume(b)
}

// choose evaluates a choice.
func (c *compiler) choose(t *term) {
	cond, yes, no := t.args[0], t.args[1], t.args[2]
	if !c.ready(cond) {
		c.emit(cond)
	}
	held := !cond.leaf()
	if held {
		c.hold(cond)
	}
	before := !yes.leaf() && yes.chooses() // it needs the slot itself
	if before {
		c.emit(yes)
		c.hold(yes)
	}
	c.emit(no)
	if c.fails {
		return
	}
	if old := c.slots[elseSlot]; old.t != nil && old.t != no {
		// The slot holds something else: the two change places by way of a free one.
		s := c.free()
		if s < 0 {
			c.fails = true
			return
		}
		c.step(kernels.OpSave, kernels.Saved(s))
		c.slots[s] = slot{t: no}
		u := c.free()
		if u < 0 {
			c.fails = true
			return
		}
		c.step(kernels.OpLoad, kernels.Saved(elseSlot))
		c.step(kernels.OpSave, kernels.Saved(u))
		c.slots[u] = old
		c.step(kernels.OpLoad, kernels.Saved(s))
		c.slots[s] = slot{}
		c.slots[elseSlot] = slot{}
	}
	if c.slots[elseSlot].t == nil {
		c.step(kernels.OpSave, kernels.Saved(elseSlot))
		c.slots[elseSlot].t = no
	}
	c.slots[elseSlot].pins++
	c.emit(yes)
	c.step(kernels.OpKeepIf, c.operand(cond))
	c.slots[elseSlot].pins--
	if c.slots[elseSlot].pins == 0 && (no.leaf() || c.uses[no] <= 1 || c.held(no) != elseSlot) {
		c.slots[elseSlot].t = nil
	}
	if before {
		c.release(yes)
	}
	if held {
		c.release(cond)
	}
	c.consume(no)
	c.consume(yes)
	c.consume(cond)
}

// reversed is the instruction that gives the same with its operands exchanged.
func reversed(op kernels.Op) (kernels.Op, bool) {
	switch op {
	case kernels.OpAdd, kernels.OpMul, kernels.OpMin, kernels.OpMax, kernels.OpEqual, kernels.OpAnd, kernels.OpOr, kernels.OpXor:
		return op, true
	case kernels.OpSub:
		return kernels.OpRSub, true
	case kernels.OpDiv:
		return kernels.OpRDiv, true
	case kernels.OpPow:
		return kernels.OpRPow, true
	case kernels.OpLess:
		return kernels.OpGreater, true
	case kernels.OpLessEqual:
		return kernels.OpGreaterEqual, true
	case kernels.OpGreater:
		return kernels.OpLess, true
	case kernels.OpGreaterEqual:
		return kernels.OpLessEqual, true
	}
	return 0, false
}

// spread is the strides by which a view is read as one of more dims, by ONNX's rules of broadcasting; ok is false where it does not fit.
func spread(t *Tensor, dims []int64) (strides []int64, ok bool) {
	strides = make([]int64, len(dims))
	off := len(dims) - len(t.Dims)
	if off < 0 {
		return nil, false
	}
	for i, n := range t.Dims {
		switch {
		case n == 1:
		case n == dims[off+i]:
			strides[off+i] = t.Strides[i]
		default:
			return nil, false
		}
	}
	return strides, true
}

// joinedRank is how many dimensions remain where neighbours are joined that every operand runs through alike.
func joinedRank(dims []int64, strides ...[]int64) int {
	rank, last := 0, -1
	for d, n := range dims {
		if n == 1 {
			continue
		}
		if last < 0 || slices.ContainsFunc(strides, func(s []int64) bool { return s[last] != s[d]*n }) {
			rank++
		}
		last = d
	}
	return max(rank, 1)
}
