package program

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// machine computes what a program's launches ask for, plainly, in host memory: the kernels and products by their documentation. Each buffer
// lies at an address of its own, gap bytes from the next, and what is outside of it panics.
type machine struct {
	t    testing.TB
	base map[*Buffer]driver.Ptr
	mem  [][]byte
	seen map[string]int // kernels by name
}

func newMachine(t testing.TB) *machine {
	return &machine{t: t, base: map[*Buffer]driver.Ptr{}, seen: map[string]int{}}
}

func (m *machine) addr(buf *Buffer) driver.Ptr {
	p, ok := m.base[buf]
	if !ok {
		m.mem = append(m.mem, make([]byte, buf.Bytes))
		for i := range m.mem[len(m.mem)-1] {
			m.mem[len(m.mem)-1][i] = 0xa5 // what nobody wrote must not be taken for zeros
		}
		p = driver.Ptr(len(m.mem)) * gap
		m.base[buf] = p
	}
	return p
}

// at is n bytes at p.
func (m *machine) at(p driver.Ptr, n int64) []byte {
	off := int64(p % gap)
	return m.mem[p/gap-1][off : off+n]
}

func (m *machine) get(t kernels.Type, p driver.Ptr, i int64) float32 {
	b := m.at(p+driver.Ptr(i*t.Size()), t.Size())
	switch t {
	case kernels.F32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case kernels.F16:
		return wide16(float8.WidenFloat16, b)
	case kernels.BF16:
		return wide16(float8.WidenBFloat16, b)
	case kernels.Bool:
		return float32(b[0])
	case kernels.I32:
		return float32(int32(binary.LittleEndian.Uint32(b)))
	case kernels.I64:
		return float32(int64(binary.LittleEndian.Uint64(b)))
	case kernels.E4M3:
		return float8.E4M3FNFormat.Decode(b[0])
	}
	panic(fmt.Sprintf("a value of %v", t))
}

func wide16(f func(dst []float32, src []uint16), b []byte) float32 {
	var v [1]float32
	f(v[:], []uint16{binary.LittleEndian.Uint16(b)})
	return v[0]
}

// narrow is v as a type holds it.
func narrow(t kernels.Type, v float32) float32 {
	var bits [1]uint16
	var out [1]float32
	switch t {
	case kernels.F16:
		float8.NarrowFloat16(bits[:], []float32{v})
		float8.WidenFloat16(out[:], bits[:])
		return out[0]
	case kernels.BF16:
		float8.NarrowBFloat16(bits[:], []float32{v})
		float8.WidenBFloat16(out[:], bits[:])
		return out[0]
	}
	return v
}

func (m *machine) put(t kernels.Type, p driver.Ptr, i int64, v float32) {
	b := m.at(p+driver.Ptr(i*t.Size()), t.Size())
	var bits [1]uint16
	switch t {
	case kernels.F32:
		binary.LittleEndian.PutUint32(b, math.Float32bits(v))
	case kernels.F16:
		float8.NarrowFloat16(bits[:], []float32{v})
		binary.LittleEndian.PutUint16(b, bits[0])
	case kernels.BF16:
		float8.NarrowBFloat16(bits[:], []float32{v})
		binary.LittleEndian.PutUint16(b, bits[0])
	case kernels.Bool:
		b[0] = 0
		if v != 0 {
			b[0] = 1
		}
	case kernels.E4M3:
		b[0] = float8.E4M3FNFormat.Encode(v, float8.Saturate)
	default:
		panic(fmt.Sprintf("a value of %v", t))
	}
}

// rows writes a kernel's result of rows×cols values, which of gives: to y, as codes, and its amax.
func (m *machine) rows(t kernels.Type, y driver.Ptr, q kernels.Codes, rows, cols int64, of func(r, c int64) float32) {
	ld := max(q.Ld, cols)
	for r := range rows {
		for c := range cols {
			v := narrow(t, of(r, c))
			if y != 0 {
				m.put(t, y, r*cols+c, v)
			}
			m.code(q, r*ld+c, v)
		}
		for c := cols; c < ld && q.To != 0; c++ {
			m.at(q.To, r*ld+c+1)[r*ld+c] = 0
		}
	}
}

func (m *machine) code(q kernels.Codes, i int64, v float32) {
	if q.Amax != 0 {
		if a, size := m.get(kernels.F32, q.Amax, 0), float32(math.Abs(float64(v))); size > a || size != size {
			m.put(kernels.F32, q.Amax, 0, size)
		}
	}
	if q.To != 0 {
		s := float32(1)
		if q.Scale != 0 {
			s = m.get(kernels.F32, q.Scale, 0)
		}
		m.put(kernels.E4M3, q.To, i, v*s)
	}
}

// Chain and the next ones make a machine Kernels.
func (m *machine) Chain(c kernels.Chain, _ driver.Stream) error {
	m.seen["chain"]++
	n := count(c.Dims)
	if len(c.Inputs) < 1 || len(c.Inputs) > chainInputs || len(c.Steps) > chainSteps {
		return fmt.Errorf("chain of %d inputs and %d steps", len(c.Inputs), len(c.Steps))
	}
	at, steps := make([]int64, len(c.Dims)), decode(c.Steps)
	cols := n
	if c.Codes.Ld != 0 && len(c.Dims) > 0 {
		cols = c.Dims[len(c.Dims)-1]
	}
	m.rows(c.T, c.Y, c.Codes, n/max(cols, 1), cols, func(r, col int64) float32 {
		i := r*cols + col
		for d := len(c.Dims) - 1; d >= 0; d-- {
			at[d] = i % c.Dims[d]
			i /= c.Dims[d]
		}
		v := interpret(steps, func(k int) float32 {
			off := int64(0)
			for d, x := range at {
				off += x * c.Inputs[k].Strides[d]
			}
			return m.get(c.Inputs[k].T, driver.Ptr(int64(c.Inputs[k].P)+off*c.Inputs[k].T.Size()), 0)
		})
		return v
	})
	return nil
}

func (m *machine) Activate(a kernels.Activation, _ driver.Stream) error {
	m.seen[string(a.Act)]++
	aLd, bLd := a.ALd, a.BLd
	if aLd == 0 {
		aLd = a.Cols
	}
	if bLd == 0 {
		bLd = a.Cols
	}
	m.rows(a.T, a.Y, a.Codes, a.Rows, a.Cols, func(r, c int64) float32 {
		x := m.get(a.T, a.A, r*aLd+c)
		z := float32(0)
		if a.B != 0 {
			z = m.get(a.T, a.B, r*bLd+c)
		}
		switch a.Act {
		case kernels.SiLUMul:
			return narrow(a.T, evaluate(kernels.OpSiLU, x, 0)) * z
		case kernels.SiLU:
			return evaluate(kernels.OpSiLU, x, 0)
		case kernels.GELUErf:
			return evaluate(kernels.OpGELUErf, x, 0)
		case kernels.GELUTanh:
			return evaluate(kernels.OpGELUTanh, x, 0)
		case kernels.ReLU:
			return evaluate(kernels.OpRelu, x, 0)
		}
		return x + z
	})
	return nil
}

func (m *machine) Amax(amax, src driver.Ptr, t kernels.Type, n int64, _ driver.Stream) error {
	m.seen["amax"]++
	for i := range n {
		m.code(kernels.Codes{Amax: amax}, 0, m.get(t, src, i))
	}
	return nil
}

func (m *machine) Cast(q kernels.Codes, src driver.Ptr, t kernels.Type, n int64, counts driver.Ptr, _ driver.Stream) error {
	m.seen["cast"]++
	scale := float32(1)
	if q.Scale != 0 {
		scale = m.get(kernels.F32, q.Scale, 0)
	}
	for i := range n {
		v := m.get(t, src, i)
		m.code(q, i, v)
		if counts == 0 {
			continue
		}
		scaled := math.Abs(float64(v * scale))
		for j, is := range []bool{scaled > 464, v != 0 && m.get(kernels.E4M3, q.To, i) == 0, math.IsInf(float64(v), 0) || v != v} {
			if is {
				b := m.at(counts+driver.Ptr(8*j), 8)
				binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)+1)
			}
		}
	}
	return nil
}

func (m *machine) CastPadded(q kernels.Codes, src driver.Ptr, t kernels.Type, rows, cols int64, _ driver.Stream) error {
	m.seen["cast"]++
	m.rows(t, 0, q, rows, cols, func(r, c int64) float32 { return m.get(t, src, r*cols+c) })
	return nil
}

func (m *machine) Convert(dst driver.Ptr, to kernels.Type, src driver.Ptr, from kernels.Type, n int64, _ driver.Stream) error {
	m.seen["convert"]++
	for i := range n {
		m.put(to, dst, i, m.get(from, src, i))
	}
	return nil
}

func (m *machine) Decode(dst driver.Ptr, t kernels.Type, codes driver.Ptr, format kernels.Type, scale driver.Ptr, n int64, _ driver.Stream) error {
	m.seen["decode"]++
	s := float32(1)
	if scale != 0 {
		s = m.get(kernels.F32, scale, 0)
	}
	for i := range n {
		m.put(t, dst, i, m.get(format, codes, i)*s)
	}
	return nil
}

func (m *machine) Scales(scale, inverse, amax driver.Ptr, n int64, r kernels.ScaleRule, _ driver.Stream) error {
	m.seen["scales"]++
	for i := range n {
		a := m.get(kernels.F32, amax, i)
		s := r.FormatMax * (1 / max(a, r.Epsilon))
		if r.PowerOfTwo {
			_, e := math.Frexp(float64(s))
			s = float32(math.Ldexp(1, e-1))
		}
		s = float32(math.Ldexp(float64(s), -r.Margin))
		if a == 0 || a != a || math.IsInf(float64(a), 0) {
			s = m.get(kernels.F32, scale, i)
		}
		m.put(kernels.F32, scale, i, s)
		if inverse != 0 {
			m.put(kernels.F32, inverse, i, 1/s)
		}
	}
	return nil
}

func (m *machine) Copy(dst, src kernels.View, dims []int64, size int64, _ driver.Stream) error {
	m.seen["copy"]++
	at := make([]int64, len(dims))
	for i := range count(dims) {
		for d := len(dims) - 1; d >= 0; d-- {
			at[d] = i % dims[d]
			i /= dims[d]
		}
		from, to := int64(0), int64(0)
		for d, x := range at {
			from += x * src.Strides[d]
			to += x * dst.Strides[d]
		}
		copy(m.at(driver.Ptr(int64(dst.P)+to*size), size), m.at(driver.Ptr(int64(src.P)+from*size), size))
	}
	return nil
}

func (m *machine) Gather(dst, src, index driver.Ptr, indexType kernels.Type, outer, axis, n, bytes int64, failed driver.Ptr, _ driver.Stream) error {
	m.seen["gather"]++
	for o := range outer {
		for i := range n {
			k := int64(m.get(indexType, index, i))
			if k < 0 {
				k += axis
			}
			to := m.at(dst+driver.Ptr((o*n+i)*bytes), bytes)
			if k < 0 || k >= axis {
				clear(to)
				if failed != 0 {
					binary.LittleEndian.PutUint32(m.at(failed, 4), 1)
				}
				continue
			}
			copy(to, m.at(src+driver.Ptr((o*axis+k)*bytes), bytes))
		}
	}
	return nil
}

func (m *machine) Normalize(n kernels.Norm, _ driver.Stream) error {
	m.seen["norm"]++
	h := make([]float64, n.Cols)
	var mean, inv float64
	row := int64(-1)
	m.rows(n.T, n.Y, n.Codes, n.Rows, n.Cols, func(r, c int64) float32 {
		if r != row {
			row = r
			sum := 0.0
			for i := range h {
				v := m.get(n.T, n.X, r*n.Cols+int64(i))
				if n.Residual != 0 {
					v = narrow(n.T, v+m.get(n.T, n.Residual, r*n.Cols+int64(i)))
				}
				if n.Sum != 0 {
					m.put(n.T, n.Sum, r*n.Cols+int64(i), v)
				}
				h[i] = float64(v)
				sum += h[i]
			}
			mean = 0
			if n.Center {
				mean = sum / float64(n.Cols)
			}
			q := 0.0
			for _, v := range h {
				q += (v - mean) * (v - mean)
			}
			inv = 1 / math.Sqrt(q/float64(n.Cols)+float64(n.Epsilon))
		}
		v := (h[c] - mean) * inv
		between := func() {
			if !n.Center && n.T != kernels.F32 {
				v = float64(narrow(n.T, float32(v)))
			}
		}
		if n.Weight != 0 {
			between()
			v *= float64(narrow(n.T, m.get(n.WeightType, n.Weight, c)))
		}
		if n.Bias != 0 {
			between()
			v += float64(narrow(n.T, m.get(n.BiasType, n.Bias, c)))
		}
		return float32(v)
	})
	return nil
}

func (m *machine) Reduce(op kernels.Reduction, y, x driver.Ptr, t kernels.Type, outer, n, inner int64, _ driver.Stream) error {
	m.seen["reduce"]++
	for o := range outer {
		for i := range inner {
			r := map[kernels.Reduction]float64{kernels.ReduceMax: math.Inf(-1), kernels.ReduceMin: math.Inf(1), kernels.ReduceProd: 1}[op]
			for k := range n {
				switch v := float64(m.get(t, x, (o*n+k)*inner+i)); op {
				case kernels.ReduceMax:
					r = max(r, v)
				case kernels.ReduceMin:
					r = min(r, v)
				case kernels.ReduceProd:
					r *= v
				case kernels.ReduceSumSquare, kernels.ReduceL2:
					r += v * v
				case kernels.ReduceL1:
					r += math.Abs(v)
				default:
					r += v
				}
			}
			switch op {
			case kernels.ReduceMean:
				r /= float64(n)
			case kernels.ReduceL2:
				r = math.Sqrt(r)
			}
			m.put(t, y, o*inner+i, float32(r))
		}
	}
	return nil
}

// masked is a score with what a mask does to it.
func (m *machine) masked(k kernels.Mask, s float64, b, h, q, c int64) float64 {
	if k.P == 0 {
		return s
	}
	v := m.get(k.T, k.P, b*k.Strides[0]+h*k.Strides[1]+q*k.Strides[2]+c*k.Strides[3])
	if k.T != kernels.Bool {
		return s + float64(v)
	}
	if v == 0 {
		return math.Inf(-1)
	}
	return s
}

func (m *machine) Softmax(a kernels.Softmax, _ driver.Stream) error {
	m.seen["softmax"]++
	for r := range a.Dims[0] * a.Dims[1] * a.Dims[2] {
		b, h, q := r/a.Dims[2]/a.Dims[1], r/a.Dims[2]%a.Dims[1], r%a.Dims[2]
		s := make([]float64, a.Cols)
		top, sum := math.Inf(-1), 0.0
		for c := range s {
			s[c] = m.masked(a.Mask, float64(m.get(a.T, a.X, r*a.Cols+int64(c)))*float64(a.Scale), b, h, q, int64(c))
			if a.Causal && int64(c) > q+a.Offset {
				s[c] = math.Inf(-1)
			}
			top = max(top, s[c])
		}
		for _, v := range s {
			sum += math.Exp(v - top)
		}
		for c, v := range s {
			y := math.Exp(v-top) / sum
			if a.Log {
				y = v - top - math.Log(sum)
			}
			m.put(a.T, a.Y, r*a.Cols+int64(c), float32(y))
		}
	}
	return nil
}

func (m *machine) Rotate(r kernels.Rotary, _ driver.Stream) error {
	m.seen["rotary"]++
	half, ld := r.Width/2, r.TableLd
	for b := range r.Batch {
		for h := range r.Heads {
			for s := range r.Sequence {
				x, y := b*r.XStrides[0]+h*r.XStrides[1]+s*r.XStrides[2], b*r.YStrides[0]+h*r.YStrides[1]+s*r.YStrides[2]
				at := s + r.Start
				if r.Positions != 0 {
					at = int64(binary.LittleEndian.Uint64(m.at(r.Positions+driver.Ptr(8*(b*r.PositionStride+s)), 8)))
				}
				for j := r.Width; j < r.Head; j++ {
					m.put(r.T, r.Y, y+j, m.get(r.T, r.X, x+j))
				}
				for j := range half {
					p, q := j, j+half
					if r.Interleaved {
						p, q = 2*j, 2*j+1
					}
					cos, sin := narrow(r.T, m.get(r.TableType, r.Cos, at*ld+j)), narrow(r.T, m.get(r.TableType, r.Sin, at*ld+j))
					u, v := m.get(r.T, r.X, x+p), m.get(r.T, r.X, x+q)
					m.put(r.T, r.Y, y+p, narrow(r.T, u*cos)-narrow(r.T, v*sin))
					m.put(r.T, r.Y, y+q, narrow(r.T, v*cos)+narrow(r.T, u*sin))
				}
			}
		}
	}
	return nil
}

func (m *machine) Attend(a kernels.Attention, _ driver.Stream) error {
	m.seen["attention"]++
	read := func(p driver.Ptr, s [3]int64, b, h, r, d int64) float64 {
		return float64(m.get(a.T, p, b*s[0]+h*s[1]+r*s[2]+d))
	}
	for b := range a.Batch {
		for h := range a.Heads {
			kh := h / (a.Heads / a.KVHeads)
			for q := range a.Queries {
				s := make([]float64, a.Keys)
				top, sum := math.Inf(-1), 0.0
				for k := range s {
					for d := range a.Head {
						s[k] += read(a.Q, a.QStrides, b, h, q, d) * read(a.K, a.KStrides, b, kh, int64(k), d)
					}
					s[k] = m.masked(a.Mask, s[k]*float64(a.Scale), b, h, q, int64(k))
					if a.Causal && int64(k) > q+a.Offset {
						s[k] = math.Inf(-1)
					}
					top = max(top, s[k])
				}
				for k := range s {
					s[k] = math.Exp(s[k] - top)
					sum += s[k]
				}
				for d := range a.Head {
					v := 0.0
					for k := range s {
						v += s[k] / sum * read(a.V, a.VStrides, b, kh, int64(k), d)
					}
					at := b*a.OStrides[0] + h*a.OStrides[1] + q*a.OStrides[2] + d
					if a.O != 0 {
						m.put(a.T, a.O, at, float32(v))
					}
					m.code(a.Codes, at, narrow(a.T, float32(v)))
				}
			}
		}
	}
	return nil
}

// Plan, Matmul and Spread make it a Multiplier.
func (m *machine) Plan(_ *driver.Context, p lt.Problem) (*lt.Plan, error) {
	return &lt.Plan{Problem: p}, nil
}

func (m *machine) Matmul(_ *driver.Context, plan *lt.Plan, o lt.Operands, _ driver.Stream) error {
	p := plan.Problem
	m.seen["matmul"]++
	scale := func(at driver.Ptr, vector bool, i int64) float64 {
		if at == 0 {
			return 1
		}
		if !vector {
			i = 0
		}
		return float64(m.get(kernels.F32, at, i))
	}
	tx, tw, ty := fromLT(p.X), fromLT(p.W), fromLT(p.Y)
	for b := range int64(max(p.Batch, 1)) {
		x, w := make([]float64, p.M*p.K), make([]float64, p.N*p.K)
		for i := range x {
			x[i] = float64(m.get(tx, o.X, b*p.XStride+int64(i)))
		}
		for i := range w {
			w[i] = float64(m.get(tw, o.W, b*p.WStride+int64(i)))
		}
		for r := range p.M {
			for c := range p.N {
				s := 0.0
				for k := range p.K {
					if p.KN {
						s += x[r*p.K+k] * w[k*p.N+c]
					} else {
						s += x[r*p.K+k] * w[c*p.K+k]
					}
				}
				s *= scale(o.ScaleX, p.Rows, int64(r)) * scale(o.ScaleW, p.Channels, int64(c))
				if o.Bias != 0 {
					s += float64(m.get(fromLT(p.Bias), o.Bias, int64(c)))
				}
				v := float32(s)
				switch p.Activation {
				case lt.ReLU:
					v = max(v, 0)
				case lt.GELU:
					v = evaluate(kernels.OpGELUTanh, v, 0)
				}
				m.put(ty, o.Y, b*p.YStride+int64(r*p.N+c), v)
			}
		}
	}
	return nil
}

func (m *machine) Spread(_ *driver.Context, dst, src driver.Ptr, n int, _ driver.Stream) error {
	for i := range n {
		m.put(kernels.F32, dst, int64(i), m.get(kernels.F32, src, 0))
	}
	return nil
}

// instruction is a step of a chain, its operand taken apart.
type instruction struct {
	op           kernels.Op
	input, saved int // -1: it is another one
	constant     float32
}

func decode(steps []kernels.Step) []instruction {
	all := make([]instruction, len(steps))
	for k, s := range steps {
		d := instruction{op: s.Op, input: -1, saved: -1}
		for i := range chainInputs {
			if s.With == kernels.Input(i) {
				d.input = i
			}
		}
		for i := range chainSaved {
			if s.With == kernels.Saved(i) {
				d.saved = i
			}
		}
		if d.input < 0 && d.saved < 0 && s.Op < kernels.OpNeg {
			d.constant = constantOf(s.With)
		}
		all[k] = d
	}
	return all
}

// interpret runs a chain for one element.
func interpret(steps []instruction, input func(i int) float32) float32 {
	x := input(0)
	var saved [chainSaved]float32
	for _, s := range steps {
		z := s.constant
		switch {
		case s.input >= 0:
			z = input(s.input)
		case s.saved >= 0:
			z = saved[s.saved]
		}
		switch s.op {
		case kernels.OpSave:
			saved[s.saved] = x
		case kernels.OpKeepIf:
			if z == 0 {
				x = saved[elseSlot]
			}
		default:
			x = evaluate(s.op, x, z)
		}
	}
	return x
}

// constantOf is the number of an operand that is one. The package kernels does not tell; its printed form does.
func constantOf(o kernels.Operand) float32 {
	var kind, index int
	var text string
	if _, err := fmt.Sscanf(fmt.Sprintf("%v", o), "{%d %d %s", &kind, &index, &text); err != nil || kind != 3 {
		panic(fmt.Sprintf("operand %v", o))
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "}"), 32)
	if err != nil {
		panic(err)
	}
	return float32(v)
}

// evaluate is the documentation of kernels.Op.
func evaluate(op kernels.Op, x, z float32) float32 {
	truth := func(b bool) float32 {
		if b {
			return 1
		}
		return 0
	}
	f := func(g func(float64) float64) float32 { return float32(g(float64(x))) }
	switch op {
	case kernels.OpLoad:
		return z
	case kernels.OpAdd:
		return x + z
	case kernels.OpSub:
		return x - z
	case kernels.OpRSub:
		return z - x
	case kernels.OpMul:
		return x * z
	case kernels.OpDiv:
		return x / z
	case kernels.OpRDiv:
		return z / x
	case kernels.OpPow:
		return float32(math.Pow(float64(x), float64(z)))
	case kernels.OpRPow:
		return float32(math.Pow(float64(z), float64(x)))
	case kernels.OpMin:
		return min(x, z)
	case kernels.OpMax:
		return max(x, z)
	case kernels.OpLess:
		return truth(x < z)
	case kernels.OpLessEqual:
		return truth(x <= z)
	case kernels.OpGreater:
		return truth(x > z)
	case kernels.OpGreaterEqual:
		return truth(x >= z)
	case kernels.OpEqual:
		return truth(x == z)
	case kernels.OpAnd:
		return truth(x != 0 && z != 0)
	case kernels.OpOr:
		return truth(x != 0 || z != 0)
	case kernels.OpXor:
		return truth((x != 0) != (z != 0))
	case kernels.OpPRelu:
		if x < 0 {
			return x * z
		}
		return x
	case kernels.OpNeg:
		return -x
	case kernels.OpAbs:
		return f(math.Abs)
	case kernels.OpSqrt:
		return f(math.Sqrt)
	case kernels.OpReciprocal:
		return 1 / x
	case kernels.OpExp:
		return f(math.Exp)
	case kernels.OpLog:
		return f(math.Log)
	case kernels.OpTanh:
		return f(math.Tanh)
	case kernels.OpSigmoid:
		return f(func(x float64) float64 { return 1 / (1 + math.Exp(-x)) })
	case kernels.OpErf:
		return f(math.Erf)
	case kernels.OpSin:
		return f(math.Sin)
	case kernels.OpCos:
		return f(math.Cos)
	case kernels.OpRelu:
		if x < 0 {
			return 0
		}
		return x
	case kernels.OpFloor:
		return f(math.Floor)
	case kernels.OpCeil:
		return f(math.Ceil)
	case kernels.OpRound:
		return f(math.RoundToEven)
	case kernels.OpSign:
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return x
	case kernels.OpNot:
		return truth(x == 0)
	case kernels.OpSquare:
		return x * x
	case kernels.OpSoftplus:
		return f(func(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) })
	case kernels.OpGELUErf:
		return f(func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) })
	case kernels.OpGELUTanh:
		return f(func(x float64) float64 {
			return x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		})
	case kernels.OpSiLU:
		return f(func(x float64) float64 { return x / (1 + math.Exp(-x)) })
	case kernels.OpRoundF16:
		return narrow(kernels.F16, x)
	case kernels.OpRoundBF16:
		return narrow(kernels.BF16, x)
	case kernels.OpIsNaN:
		return truth(x != x)
	case kernels.OpRsqrt:
		return 1 / f(math.Sqrt)
	}
	panic(fmt.Sprintf("instruction %d", op))
}

// run runs a program on inputs and variables and returns the values that it leaves: outputs of the GPU under their names, and what segments
// made.
func (m *machine) run(p *Program, inputs map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	m.t.Helper()
	host := map[string]*tensor.Tensor{}
	for name, v := range inputs {
		host[name] = v
	}
	must := func(err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	upload := func(all []Transfer) {
		for _, x := range all {
			raw, err := host[x.Name].Bytes()
			must(err)
			copy(m.at(m.addr(x.Tensor.Buffer)+driver.Ptr(x.Tensor.Offset), x.Tensor.Elements()*x.Tensor.T.Size()), raw)
		}
	}
	for _, w := range p.Weights {
		must(w.Fill(m.at(m.addr(w), w.Bytes), 0))
	}
	zero := func(all []*Buffer) {
		for _, buf := range all {
			clear(m.at(m.addr(buf), buf.Bytes))
		}
	}
	l := &Launcher{Kernels: m, LT: m, Base: m.addr}
	upload(p.Variables)
	zero(p.SetupCleared)
	for _, s := range p.Setup {
		must(s.Launch(l))
	}
	upload(p.Inputs)
	zero(p.Cleared)
	for _, s := range p.Steps {
		if s.Segment == nil {
			must(s.Launch(l))
			continue
		}
		for _, in := range s.Segment.In {
			host[in.Name] = m.read(in.Tensor)
		}
		values := map[string]runtime.Value{}
		for _, in := range s.Segment.Model.Graph.Inputs {
			values[in.Name] = runtime.FromTensor(host[in.Name])
		}
		for name, v := range evaluated(m.t, s.Segment.Model, values, nil) {
			host[name] = v.Tensor
		}
		upload(s.Segment.Out)
	}
	out := map[string]*tensor.Tensor{}
	for _, o := range p.Outputs {
		if o.Tensor == nil {
			out[o.Name] = host[o.Name]
			continue
		}
		out[o.Name] = m.read(o.Tensor)
	}
	for _, f := range p.Faults {
		if binary.LittleEndian.Uint32(m.at(m.addr(f.Flag.Buffer)+driver.Ptr(f.Flag.Offset), 4)) != 0 {
			m.t.Errorf("%s (%s): %s", f.Node, f.Op, f.Message)
		}
	}
	return out
}

// read is an array of the machine, which is contiguous.
func (m *machine) read(t *Tensor) *tensor.Tensor {
	d := map[kernels.Type]tensor.DType{kernels.F32: tensor.Float32, kernels.F16: tensor.Float16, kernels.BF16: tensor.BFloat16,
		kernels.Bool: tensor.Bool, kernels.I32: tensor.Int32, kernels.I64: tensor.Int64}[t.T]
	raw := m.at(m.addr(t.Buffer)+driver.Ptr(t.Offset), t.Elements()*t.T.Size())
	out, err := tensor.New(d, t.Dims, tensor.Bytes(append([]byte(nil), raw...)))
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// evaluated is what the cpu engine makes of a model.
func evaluated(t testing.TB, model *graph.Model, in map[string]runtime.Value, keep []string) map[string]runtime.Value {
	t.Helper()
	s, err := cpu.New().Open(context.Background(), model, runtime.Options{Threads: 2, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r.Values
}
