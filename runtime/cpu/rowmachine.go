package cpu

import (
	"slices"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// rowMachine computes the values of a group of steps row by row. A register holds a row's elements, or one number that stands for
// all of them.
type rowMachine struct {
	inputs  []int     // of the step, those that the code reads: their values are the first registers
	perms   [][]int64 // of each, how its axes are to be transposed; nil for not at all
	code    []rowInstruction
	regs    int
	outs    []int // registers of the step's outputs
	reduces bool  // the row is the last axis; else any cut will do

	buffers int
	buffer  []int // of each register that lies in one, its number; -1 else

	mu     sync.Mutex
	layout *rowLayout // of the last run
	idle   sync.Pool  // of *rowState
}

// rowMachine compiles a group whose operands and outputs are these slots. turned are slots whose values are those of the operand before them
// with axes transposed.
func (f *fuser) rowMachine(members, in, out []int, turned map[int][]int64) *rowMachine {
	m := &rowMachine{}
	reg := map[int]int{}
	// An operand that only says what to do, such as axes, is none of the machine's.
	behind := map[int][]int{}
	for slot := range turned {
		base := f.p.steps[f.maker[slot]].in[0]
		behind[base] = append(behind[base], slot)
	}
	for i, slot := range in {
		if slices.ContainsFunc(members, func(j int) bool { return f.rowReads(f.p.steps[j], slot) }) {
			reg[slot] = len(m.inputs)
			m.inputs = append(m.inputs, i)
			m.perms = append(m.perms, nil)
		}
		for _, t := range behind[slot] {
			reg[t] = len(m.inputs)
			m.inputs = append(m.inputs, i)
			m.perms = append(m.perms, turned[t])
		}
	}
	m.regs = len(m.inputs)
	squared := map[int]int{} // register that holds the square of another
	for _, i := range members {
		s := f.p.steps[i]
		code, _ := f.rowCode(s)
		a := reg[s.in[0]]
		for _, c := range code {
			r := rowInstruction{op: c.op, a: a, b: -1, dst: m.regs, imm: c.imm}
			if c.arg != absent {
				r.b = reg[s.in[c.arg]]
			}
			m.regs++
			switch {
			case r.op == rowSquare || r.op == rowMul && r.a == r.b:
				squared[r.dst] = r.a
			case r.op == rowMean:
				if of, ok := squared[r.a]; ok {
					r.op, r.a = rowMeanSquares, of
				}
			}
			m.reduces = m.reduces || r.op.reduces()
			m.code = append(m.code, r)
			a = r.dst
		}
		reg[s.out[0]] = a
	}
	for _, slot := range out {
		m.outs = append(m.outs, reg[slot])
	}
	m.trim()
	m.place()
	return m
}

// rowReads reports whether a step's instructions read a slot.
func (f *fuser) rowReads(s *step, slot int) bool {
	code, _ := f.rowCode(s)
	return s.in[0] == slot || slices.ContainsFunc(code, func(c rowStep) bool { return c.arg != absent && s.in[c.arg] == slot })
}

// trim leaves out instructions whose results nobody reads.
func (m *rowMachine) trim() {
	read := make([]bool, m.regs)
	for _, o := range m.outs {
		read[o] = true
	}
	var kept []rowInstruction
	for _, r := range slices.Backward(m.code) {
		if !read[r.dst] {
			continue
		}
		read[r.a] = true
		if r.b >= 0 {
			read[r.b] = true
		}
		kept = append(kept, r)
	}
	slices.Reverse(kept)
	m.code = kept
}

// place gives registers between operands and outputs a buffer, which later ones use again. A result may lie where its operand
// does.
func (m *rowMachine) place() {
	last := make([]int, m.regs)
	for i, r := range m.code {
		last[r.a] = i
		if r.b >= 0 {
			last[r.b] = i
		}
	}
	m.buffer = make([]int, m.regs)
	for i := range m.buffer {
		m.buffer[i] = -1
	}
	var free []int
	for i, r := range m.code {
		for _, reg := range []int{r.a, r.b} {
			if reg >= 0 && m.buffer[reg] >= 0 && last[reg] == i && r.op != rowRotate && !slices.Contains(free, m.buffer[reg]) {
				free = append(free, m.buffer[reg])
			}
		}
		if slices.Contains(m.outs, r.dst) {
			continue
		}
		if len(free) == 0 {
			free = append(free, m.buffers)
			m.buffers++
		}
		m.buffer[r.dst] = free[len(free)-1]
		free = free[:len(free)-1]
		if r.op == rowRotate && m.buffer[r.a] >= 0 && last[r.a] == i {
			free = append(free, m.buffer[r.a])
		}
	}
}

// rowLayout is how the operands of one run lie: axes that all of them walk alike are joined.
type rowLayout struct {
	shapes [][]int // of the operands, to know the layout again
	ok     bool
	shape  []int   // of the outputs
	outer  []int   // extents of the joined axes but the last
	stride [][]int // of each operand along outer
	length int     // of a row
	single []bool  // of each register: one number for the row
	rows   int
}

// layoutOf is the layout for operands, as of the last run where that fits.
func (m *rowMachine) layoutOf(in []*kernel.Tensor) *rowLayout {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.layout; l != nil && slices.EqualFunc(l.shapes, in, func(s []int, t *kernel.Tensor) bool { return slices.Equal(s, t.Shape) }) {
		return l
	}
	m.layout = m.arrange(in)
	return m.layout
}

func (m *rowMachine) arrange(in []*kernel.Tensor) *rowLayout {
	l := &rowLayout{}
	shapes := make([][]int, m.regs)
	views := make([]view, len(in))
	for i, t := range in {
		l.shapes = append(l.shapes, slices.Clone(t.Shape))
		views[i] = whole(t)
		if m.perms[i] != nil {
			var ok bool
			if views[i], ok = views[i].transpose(m.perms[i]); !ok {
				return l
			}
		}
		shapes[i] = views[i].shape()
	}
	full, err := kernel.Broadcast(shapes[:len(in)]...)
	if err != nil || len(full) == 0 || kernel.Count(full) == 0 {
		return l
	}
	for _, r := range m.code {
		s := shapes[r.a]
		if r.b >= 0 {
			if s, err = kernel.Broadcast(s, shapes[r.b]); err != nil {
				return l
			}
		}
		if r.op.reduces() && len(s) == 0 || r.op == rowRotate && s[len(s)-1] != 2*int(r.imm) {
			return l
		}
		if r.op.toOne() {
			s = slices.Clone(s)
			s[len(s)-1] = 1
		}
		// Along a row of which the operand has one element, what it reduces to is not the row's.
		if r.op.reduces() && shapes[r.a][len(shapes[r.a])-1] != full[len(full)-1] {
			return l
		}
		shapes[r.dst] = s
	}
	for _, o := range m.outs {
		if !slices.Equal(shapes[o], full) {
			return l
		}
	}
	strides := make([][]int, len(in))
	for i := range in {
		strides[i] = make([]int, len(full))
		for axis := range views[i].axes {
			strides[i][len(full)-len(views[i].axes)+axis], _ = views[i].stride(axis)
		}
	}
	// Join axes from the last on.
	var extents []int
	joined := make([][]int, len(in))
	for axis := len(full) - 1; axis >= 0; axis-- {
		if full[axis] == 1 && (axis < len(full)-1 || !m.reduces) {
			continue
		}
		top := len(extents) - 1
		join := top >= 0 && !(m.reduces && top == 0)
		for i := range in {
			join = join && strides[i][axis] == joined[i][top]*extents[top]
		}
		if join {
			extents[top] *= full[axis]
			continue
		}
		extents = append(extents, full[axis])
		for i := range in {
			joined[i] = append(joined[i], strides[i][axis])
		}
	}
	// A transposed operand may have no axis along which all step to the next element: then a row has one.
	if len(extents) == 0 || slices.ContainsFunc(joined, func(s []int) bool { return s[0] > 1 }) {
		extents = slices.Insert(extents, 0, 1)
		for i := range in {
			joined[i] = slices.Insert(joined[i], 0, 0)
		}
	}
	if m.reduces && extents[0] > longestRow {
		return l
	}
	l.shape, l.length = full, extents[0]
	l.rows = kernel.Count(full) / l.length
	l.single = make([]bool, m.regs)
	l.stride = make([][]int, len(in))
	for i := range in {
		l.single[i] = joined[i][0] == 0
		s := joined[i][1:]
		slices.Reverse(s)
		l.stride[i] = s
	}
	l.outer = slices.Clone(extents[1:])
	slices.Reverse(l.outer)
	for _, r := range m.code {
		l.single[r.dst] = r.op.toOne() || l.single[r.a] && (r.b < 0 || l.single[r.b])
	}
	l.ok = true
	return l
}

// rowBlock is how many elements of a row the machine takes at a time where it may cut: some buffers of it fit into the first cache.
const rowBlock = 1024

// longestRow bounds what the machine keeps of a row that it must not cut.
const longestRow = 1 << 16

// rowState is what one worker needs.
type rowState struct {
	buffers [][]float32
	v       [][]float32 // of each register, its elements
	one     []float32   // of each register, the number that stands for all
	off     []int       // of each operand, where its row starts
	at      []int       // the row's place on the outer axes
	tmp     [16]float32
}

func (m *rowMachine) state(l *rowLayout) *rowState {
	st, _ := m.idle.Get().(*rowState)
	if st == nil {
		st = &rowState{buffers: make([][]float32, m.buffers), v: make([][]float32, m.regs), one: make([]float32, m.regs),
			off: make([]int, len(m.inputs))}
	}
	n := min(l.length, rowBlock)
	if m.reduces {
		n = l.length
	}
	for i := range st.buffers {
		if cap(st.buffers[i]) < n {
			st.buffers[i] = make([]float32, n)
		}
	}
	if len(st.at) < len(l.outer) {
		st.at = make([]int, len(l.outer))
	}
	return st
}

// run computes the outputs; false where the operands are not float32 or do not lie as rows.
func (m *rowMachine) run(x *exec, c *kernel.Call) (bool, error) {
	in := make([]*kernel.Tensor, len(m.inputs))
	for i, j := range m.inputs {
		t, ok := c.In[j].(*kernel.Tensor)
		if !ok || t == nil || t.DType != tensor.Float32 {
			return false, nil
		}
		in[i] = t
	}
	l := m.layoutOf(in)
	if !l.ok {
		return false, nil
	}
	out := make([][]float32, len(m.outs))
	for i, o := range m.outs {
		t, err := m.output(c, i, o, in, l)
		if err != nil {
			return false, err
		}
		out[i] = kernel.Of[float32](t)
	}
	data := make([][]float32, len(in))
	for i, t := range in {
		data[i] = kernel.Of[float32](t)
	}
	block := l.length
	if !m.reduces {
		block = min(block, rowBlock)
	}
	cuts := (l.length + block - 1) / block
	x.pool.For(l.rows*cuts, max(1, 16*rowBlock/block), func(lo, hi int) {
		st := m.state(l)
		defer m.idle.Put(st)
		row := lo / cuts
		st.seek(l, row)
		for u := lo; u < hi; u++ {
			if r := u / cuts; r != row {
				row = r
				st.next(l)
			}
			from := (u % cuts) * block
			to := min(from+block, l.length)
			for i := range data {
				if o := st.off[i]; l.single[i] {
					st.one[i] = data[i][o]
				} else {
					st.v[i] = data[i][o+from : o+to]
				}
			}
			for i, r := range m.outs {
				st.v[r] = out[i][row*l.length+from : row*l.length+to]
			}
			m.row(st, l.single, to-from)
		}
	})
	return true, nil
}

// output makes the output at i. The last instruction may write over an operand that dies, since all others have read it by then.
func (m *rowMachine) output(c *kernel.Call, i, reg int, in []*kernel.Tensor, l *rowLayout) (*kernel.Tensor, error) {
	if last := m.code[len(m.code)-1]; last.dst == reg && last.op != rowRotate {
		for j, t := range in {
			if m.perms[j] == nil && c.Dies[m.inputs[j]] && t.Sole() && slices.Equal(t.Shape, l.shape) {
				return c.Reuse(i, m.inputs[j], tensor.Float32, l.shape)
			}
		}
	}
	return c.New(i, tensor.Float32, l.shape)
}

// seek goes to a row.
func (st *rowState) seek(l *rowLayout, row int) {
	clear(st.off)
	for a := len(l.outer) - 1; a >= 0; a-- {
		st.at[a] = row % l.outer[a]
		row /= l.outer[a]
		for i := range st.off {
			st.off[i] += st.at[a] * l.stride[i][a]
		}
	}
}

// next goes to the row after.
func (st *rowState) next(l *rowLayout) {
	for a := len(l.outer) - 1; a >= 0; a-- {
		st.at[a]++
		for i := range st.off {
			st.off[i] += l.stride[i][a]
		}
		if st.at[a] < l.outer[a] {
			return
		}
		st.at[a] = 0
		for i := range st.off {
			st.off[i] -= l.outer[a] * l.stride[i][a]
		}
	}
}

// row runs the code over n elements.
func (m *rowMachine) row(st *rowState, single []bool, n int) {
	for _, r := range m.code {
		if single[r.dst] {
			if r.op.toOne() {
				st.one[r.dst] = reduceRow(r.op, st, r.a, single[r.a], n)
			} else {
				st.one[r.dst] = oneOf(r, st)
			}
			if m.buffer[r.dst] < 0 { // an output, which may have one element for a row
				for i := range st.v[r.dst] {
					st.v[r.dst][i] = st.one[r.dst]
				}
			}
			continue
		}
		if b := m.buffer[r.dst]; b >= 0 {
			st.v[r.dst] = st.buffers[b][:n]
		}
		dst := st.v[r.dst]
		if r.b >= 0 {
			binaryRow(r.op, dst, st, r.a, r.b, single)
			continue
		}
		unaryRow(r, dst, st.v[r.a])
	}
}

func reduceRow(op opcode, st *rowState, reg int, single bool, n int) float32 {
	v := st.v[reg]
	if single { // a row of one
		st.tmp[0] = st.one[reg]
		v = st.tmp[:1]
	}
	switch op {
	case rowSum:
		return vec.Sum(v)
	case rowMean:
		return vec.Sum(v) / float32(n)
	case rowMeanSquares:
		return vec.SumSquares(v, 0) / float32(n)
	default:
		return vec.Maximum(v)
	}
}

// oneOf computes on single numbers, by the kernels for rows so that the results are theirs.
func oneOf(r rowInstruction, st *rowState) float32 {
	v := st.tmp[:1]
	v[0] = st.one[r.a]
	if r.b < 0 {
		unaryRow(r, v, v)
		return v[0]
	}
	scalarRow(r.op, v, v, st.one[r.b])
	return v[0]
}

func binaryRow(op opcode, dst []float32, st *rowState, a, b int, single []bool) {
	switch {
	case single[b]:
		scalarRow(op, dst, st.v[a], st.one[b])
	case single[a]:
		x, y := st.one[a], st.v[b]
		switch op {
		case rowSub:
			vec.SubFromScalar(dst, y, x)
		case rowDiv:
			vec.DivScalarBy(dst, y, x)
		default:
			scalarRow(op, dst, y, x)
		}
	default:
		x, y := st.v[a], st.v[b]
		switch op {
		case rowAdd:
			vec.Add(dst, x, y)
		case rowSub:
			vec.Sub(dst, x, y)
		case rowMul:
			vec.Mul(dst, x, y)
		case rowDiv:
			vec.Div(dst, x, y)
		case rowMin:
			vec.Min(dst, x, y)
		case rowMax:
			vec.Max(dst, x, y)
		}
	}
}

func scalarRow(op opcode, dst, x []float32, y float32) {
	switch op {
	case rowAdd:
		vec.AddScalar(dst, x, y)
	case rowSub:
		vec.SubScalar(dst, x, y)
	case rowMul:
		vec.MulScalar(dst, x, y)
	case rowDiv:
		vec.DivScalar(dst, x, y)
	case rowMin:
		vec.MinScalar(dst, x, y)
	case rowMax:
		vec.MaxScalar(dst, x, y)
	}
}

func unaryRow(r rowInstruction, dst, x []float32) {
	switch r.op {
	case rowNeg:
		vec.MulScalar(dst, x, -1)
	case rowSquare:
		vec.Mul(dst, x, x)
	case rowCube:
		for i, v := range x {
			dst[i] = v * v * v
		}
	case rowSqrt:
		vec.Sqrt(dst, x)
	case rowReciprocal:
		vec.DivScalarBy(dst, x, 1)
	case rowExp:
		vec.Exp(dst, x)
	case rowTanh:
		vec.Tanh(dst, x)
	case rowSigmoid:
		vec.Sigmoid(dst, x)
	case rowErf:
		vec.Erf(dst, x)
	case rowRelu:
		vec.MaxScalar(dst, x, 0)
	case rowNotBelow:
		vec.MaxScalar(dst, x, r.imm)
	case rowNotAbove:
		vec.MinScalar(dst, x, r.imm)
	case rowSoftmax:
		sum := vec.ExpSum(dst, x, vec.Maximum(x))
		vec.MulScalar(dst, dst, 1/sum)
	case rowRotate: // dst is never x: see place
		half := len(x) / 2
		vec.MulScalar(dst[:half], x[half:], -1)
		copy(dst[half:], x[:half])
	case rowNormalize:
		n := float32(len(x))
		mean := vec.Sum(x) / n
		deviation := [1]float32{vec.SumSquares(x, mean)/n + r.imm}
		vec.Sqrt(deviation[:], deviation[:])
		vec.SubScalar(dst, x, mean)
		vec.MulScalar(dst, dst, 1/deviation[0])
	}
}
