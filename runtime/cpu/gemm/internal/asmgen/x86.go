package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vectors are an instruction set's registers.
type vectors struct {
	name  string
	bytes int
	new   func() reg.VecVirtual
}

var (
	avx512 = vectors{"AVX512", 64, ZMM}
	avx2   = vectors{"AVX2", 32, YMM}
)

// zero clears v; AVX-512 alone has no wider exclusive or without DQ, and the narrow one clears the whole register.
func zero(v reg.VecVirtual) { VXORPS(v.AsX(), v.AsX(), v.AsX()) }

// tileX86 writes a kernel of rows × 2 vectors.
func tileX86(v vectors, rows int) {
	const unroll = 4
	TEXT(fmt.Sprintf("tile%sx%d", v.name, rows), NOSPLIT, "func(t *byte)")
	t := Load(Param("t"), GP64())
	field := func(offset int) reg.GPVirtual {
		r := GP64()
		MOVQ(operand.Mem{Base: t, Disp: offset}, r)
		return r
	}
	b, ldb, k := field(tB), field(tLDB), field(tK)
	// One register reaches three rows: at it, one and two strides on.
	var lda reg.GPVirtual
	if rows > 1 {
		lda = field(tLDA)
	}
	bases := []reg.GPVirtual{field(tA)}
	for len(bases)*3 < rows {
		next := GP64()
		LEAQ(operand.Mem{Base: bases[len(bases)-1], Index: lda, Scale: 2}, next)
		ADDQ(lda, next)
		bases = append(bases, next)
	}
	element := func(row, step int) operand.Mem {
		m := operand.Mem{Base: bases[row/3], Disp: 4 * step}
		if row%3 > 0 {
			m.Index, m.Scale = lda, uint8(row%3)
		}
		return m
	}

	acc := make([][2]reg.VecVirtual, rows)
	for i := range acc {
		acc[i] = [2]reg.VecVirtual{v.new(), v.new()}
	}
	c := func() (at, ldc reg.GPVirtual) { return field(tC), field(tLDC) }
	half := func(base reg.GPVirtual, i int) operand.Mem { return operand.Mem{Base: base, Disp: i * v.bytes} }

	CMPQ(operand.Mem{Base: t, Disp: tAccumulate}, operand.Imm(0))
	JEQ(operand.LabelRef("fresh"))
	{
		at, ldc := c()
		for i := range acc {
			VMOVUPS(half(at, 0), acc[i][0])
			VMOVUPS(half(at, 1), acc[i][1])
			if i < rows-1 {
				ADDQ(ldc, at)
			}
		}
	}
	JMP(operand.LabelRef("begin"))
	Label("fresh")
	for i := range acc {
		zero(acc[i][0])
		zero(acc[i][1])
	}
	Label("begin")

	step := func(s int) {
		b0, b1 := v.new(), v.new()
		VMOVUPS(half(b, 0), b0)
		VMOVUPS(half(b, 1), b1)
		ADDQ(ldb, b)
		for i := range acc {
			x := v.new()
			VBROADCASTSS(element(i, s), x)
			VFMADD231PS(x, b0, acc[i][0])
			VFMADD231PS(x, b1, acc[i][1])
		}
	}
	advance := func(steps int) {
		for _, r := range bases {
			ADDQ(operand.Imm(uint64(4*steps)), r)
		}
	}
	SUBQ(operand.Imm(unroll), k)
	JL(operand.LabelRef("rest"))
	Label("loop")
	for s := range unroll {
		step(s)
	}
	advance(unroll)
	SUBQ(operand.Imm(unroll), k)
	JGE(operand.LabelRef("loop"))
	Label("rest")
	ADDQ(operand.Imm(unroll), k)
	JEQ(operand.LabelRef("sums"))
	Label("one")
	step(0)
	advance(1)
	DECQ(k)
	JNE(operand.LabelRef("one"))

	Label("sums")
	columns := func(offset int, next string, op func(x, sum reg.VecVirtual)) {
		p := field(offset)
		TESTQ(p, p)
		JEQ(operand.LabelRef(next))
		x := [2]reg.VecVirtual{v.new(), v.new()}
		for h := range x {
			VMOVUPS(half(p, h), x[h])
			for i := range acc {
				op(x[h], acc[i][h])
			}
		}
		Label(next)
	}
	columns(tScale, "scaled", func(x, sum reg.VecVirtual) { VMULPS(x, sum, sum) })
	columns(tBias, "biased", func(x, sum reg.VecVirtual) { VADDPS(x, sum, sum) })
	p := field(tRowBias)
	TESTQ(p, p)
	JEQ(operand.LabelRef("store"))
	for i := range acc {
		x := v.new()
		VBROADCASTSS(operand.Mem{Base: p, Disp: 4 * i}, x)
		for h := range acc[i] {
			VADDPS(x, acc[i][h], acc[i][h])
		}
	}
	Label("store")
	at, ldc := c()
	for i := range acc {
		VMOVUPS(acc[i][0], half(at, 0))
		VMOVUPS(acc[i][1], half(at, 1))
		if i < rows-1 {
			ADDQ(ldc, at)
		}
	}
	VZEROUPPER()
	RET()
}
