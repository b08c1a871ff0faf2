// Command asmgen writes the amd64 kernels of package vec, with avo. It is a module of its own so that its generator does not become a
// requirement of the package.
//
// Every kernel works on n elements, a multiple of 16, and exists for AVX2 (two vectors of 8) and AVX-512 (one of 16). Each element's
// arithmetic is the same in both but for exp's last multiplication; sums keep 16 partial sums in both, so that they agree.
package main

import (
	"math"
	"strconv"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func imm(v uint64) operand.Op { return operand.Imm(v) }

// isa is an instruction set.
type isa struct {
	name string
	wide bool // AVX-512
}

// vectors is how many vectors hold 16 elements.
func (s isa) vectors() int {
	if s.wide {
		return 1
	}
	return 2
}

func (s isa) bytes() int { return 64 / s.vectors() }

func (s isa) vec() reg.VecVirtual {
	if s.wide {
		return ZMM()
	}
	return YMM()
}

func main() {
	ConstraintExpr("!purego")
	sets := []isa{{"AVX2", false}, {"AVX512", true}}
	for _, s := range sets {
		unary(s, "exp", newExp)
		unary(s, "sigmoid", newSigmoid)
		unary(s, "tanh", newRational(tanhLimit, tanhP, tanhQ))
		unary(s, "erf", newRational(erfLimit, erfP, erfQ))
		unary(s, "sqrt", func(isa) func(reg.VecVirtual) reg.VecVirtual {
			return func(x reg.VecVirtual) reg.VecVirtual { VSQRTPS(x, x); return x }
		})
		for _, op := range operations {
			binary(s, op)
			scalar(s, op)
		}
		addScaled(s)
		sum(s)
		sumSquares(s)
		maximum(s)
		expSum(s)
	}
	Generate()
}

// constants are 64-byte vectors of one float32 each, by their bits.
var constants = map[uint32]operand.Mem{}

// bits is a vector in memory that holds v 16 times.
func bits(v uint32) operand.Mem {
	m, ok := constants[v]
	if !ok {
		m = GLOBL("c"+strconv.FormatUint(uint64(v), 16), RODATA|NOPTR)
		for i := range 16 {
			DATA(4*i, operand.U32(v))
		}
		constants[v] = m
	}
	return m
}

func constant(v float64) operand.Mem { return bits(math.Float32bits(float32(v))) }

// load is a vector that holds v in every lane.
func (s isa) load(v float64) reg.VecVirtual {
	r := s.vec()
	VMOVUPS(constant(v), r)
	return r
}

// loop calls body for every 16 elements: offset is what to add to the pointers in bytes for each vector.
func loop(n reg.Register, name string, pointers []reg.Register, body func()) {
	Label(name)
	CMPQ(n, imm(16))
	JL(operand.LabelRef(name + "done"))
	body()
	for _, p := range pointers {
		ADDQ(imm(64), p)
	}
	SUBQ(imm(16), n)
	JMP(operand.LabelRef(name))
	Label(name + "done")
}

// unary writes dst = f(src).
func unary(s isa, name string, prepare func(isa) func(reg.VecVirtual) reg.VecVirtual) {
	TEXT(name+s.name, NOSPLIT, "func(dst, src *float32, n int)")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	f := prepare(s)
	loop(n, "loop", []reg.Register{dst, src}, func() {
		for i := range s.vectors() {
			x := s.vec()
			VMOVUPS(operand.Mem{Base: src, Disp: i * s.bytes()}, x)
			VMOVUPS(f(x), operand.Mem{Base: dst, Disp: i * s.bytes()})
		}
	})
	VZEROUPPER()
	RET()
}

// operation is an operator of two operands; a NaN in either gives NaN.
type operation struct {
	name string
	emit func(s isa, a, b, out reg.VecVirtual)
}

var operations = []operation{
	{"add", func(s isa, a, b, out reg.VecVirtual) { VADDPS(b, a, out) }},
	{"sub", func(s isa, a, b, out reg.VecVirtual) { VSUBPS(b, a, out) }},
	{"mul", func(s isa, a, b, out reg.VecVirtual) { VMULPS(b, a, out) }},
	{"div", func(s isa, a, b, out reg.VecVirtual) { VDIVPS(b, a, out) }},
	{"rsub", func(s isa, a, b, out reg.VecVirtual) { VSUBPS(a, b, out) }},
	{"rdiv", func(s isa, a, b, out reg.VecVirtual) { VDIVPS(a, b, out) }},
	{"max", func(s isa, a, b, out reg.VecVirtual) { extreme(s, VMAXPS, a, b, out) }},
	{"min", func(s isa, a, b, out reg.VecVirtual) { extreme(s, VMINPS, a, b, out) }},
}

// unordered is the predicate of a comparison that is true where an operand is NaN.
const unordered = 3

// extreme is a maximum or minimum that keeps NaN: the processor's gives its second operand, here b, where either is NaN.
func extreme(s isa, emit func(...operand.Op), a, b, out reg.VecVirtual) {
	t := s.vec()
	emit(b, a, t)
	if s.wide {
		k := K()
		VCMPPS(imm(unordered), a, a, k)
		VBLENDMPS(a, t, k, out)
		return
	}
	m := YMM()
	VCMPPS(imm(unordered), a, a, m)
	VBLENDVPS(m, a, t, out)
}

func binary(s isa, op operation) {
	if op.name[0] == 'r' {
		return // a reversed operator has a use with a scalar alone
	}
	TEXT(op.name+s.name, NOSPLIT, "func(dst, a, b *float32, n int)")
	dst, a, b, n := Load(Param("dst"), GP64()), Load(Param("a"), GP64()), Load(Param("b"), GP64()), Load(Param("n"), GP64())
	loop(n, "loop", []reg.Register{dst, a, b}, func() {
		for i := range s.vectors() {
			x, y := s.vec(), s.vec()
			VMOVUPS(operand.Mem{Base: a, Disp: i * s.bytes()}, x)
			VMOVUPS(operand.Mem{Base: b, Disp: i * s.bytes()}, y)
			op.emit(s, x, y, x)
			VMOVUPS(x, operand.Mem{Base: dst, Disp: i * s.bytes()})
		}
	})
	VZEROUPPER()
	RET()
}

func scalar(s isa, op operation) {
	TEXT(op.name+"Scalar"+s.name, NOSPLIT, "func(dst, a *float32, b float32, n int)")
	dst, a, n := Load(Param("dst"), GP64()), Load(Param("a"), GP64()), Load(Param("n"), GP64())
	low := Load(Param("b"), XMM())
	y := s.vec()
	VBROADCASTSS(low, y)
	loop(n, "loop", []reg.Register{dst, a}, func() {
		for i := range s.vectors() {
			x := s.vec()
			VMOVUPS(operand.Mem{Base: a, Disp: i * s.bytes()}, x)
			op.emit(s, x, y, x)
			VMOVUPS(x, operand.Mem{Base: dst, Disp: i * s.bytes()})
		}
	})
	VZEROUPPER()
	RET()
}

// addScaled is dst += a·b with two roundings.
func addScaled(s isa) {
	TEXT("addScaled"+s.name, NOSPLIT, "func(dst, a *float32, b float32, n int)")
	dst, a, n := Load(Param("dst"), GP64()), Load(Param("a"), GP64()), Load(Param("n"), GP64())
	low := Load(Param("b"), XMM())
	y := s.vec()
	VBROADCASTSS(low, y)
	loop(n, "loop", []reg.Register{dst, a}, func() {
		for i := range s.vectors() {
			x := s.vec()
			VMULPS(operand.Mem{Base: a, Disp: i * s.bytes()}, y, x)
			VADDPS(operand.Mem{Base: dst, Disp: i * s.bytes()}, x, x)
			VMOVUPS(x, operand.Mem{Base: dst, Disp: i * s.bytes()})
		}
	})
	VZEROUPPER()
	RET()
}
