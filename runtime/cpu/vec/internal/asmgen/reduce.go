package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// accumulators are 16 zero sums.
func accumulators(s isa) []reg.VecVirtual {
	acc := make([]reg.VecVirtual, s.vectors())
	for i := range acc {
		acc[i] = s.vec()
		VXORPS(acc[i], acc[i], acc[i])
	}
	return acc
}

// store ends a kernel that gives 16 values.
func store(s isa, acc []reg.VecVirtual, to reg.Register) {
	for i, a := range acc {
		VMOVUPS(a, operand.Mem{Base: to, Disp: i * s.bytes()})
	}
	VZEROUPPER()
	RET()
}

// sum gives partial sums: that at j is of the elements at j, j+16, j+32, …
func sum(s isa) {
	TEXT("sum"+s.name, NOSPLIT, "func(src, sums *float32, n int)")
	src, sums, n := Load(Param("src"), GP64()), Load(Param("sums"), GP64()), Load(Param("n"), GP64())
	acc := accumulators(s)
	loop(n, "loop", []reg.Register{src}, func() {
		for i := range s.vectors() {
			VADDPS(operand.Mem{Base: src, Disp: i * s.bytes()}, acc[i], acc[i])
		}
	})
	store(s, acc, sums)
}

// sumSquares gives partial sums of (src − shift)².
func sumSquares(s isa) {
	TEXT("sumSquares"+s.name, NOSPLIT, "func(src *float32, shift float32, sums *float32, n int)")
	src, sums, n := Load(Param("src"), GP64()), Load(Param("sums"), GP64()), Load(Param("n"), GP64())
	low := Load(Param("shift"), XMM())
	shift := s.vec()
	VBROADCASTSS(low, shift)
	acc := accumulators(s)
	loop(n, "loop", []reg.Register{src}, func() {
		for i := range s.vectors() {
			x := s.vec()
			VMOVUPS(operand.Mem{Base: src, Disp: i * s.bytes()}, x)
			VSUBPS(shift, x, x)
			VFMADD231PS(x, x, acc[i])
		}
	})
	store(s, acc, sums)
}

// maximum gives partial maxima, NaN where a NaN is among the elements.
func maximum(s isa) {
	TEXT("maximum"+s.name, NOSPLIT, "func(src, most *float32, n int)")
	src, most, n := Load(Param("src"), GP64()), Load(Param("most"), GP64()), Load(Param("n"), GP64())
	acc := make([]reg.VecVirtual, s.vectors())
	for i := range acc {
		acc[i] = s.vec()
		VMOVUPS(operand.Mem{Base: src, Disp: i * s.bytes()}, acc[i])
	}
	loop(n, "loop", []reg.Register{src}, func() {
		for i := range s.vectors() {
			x := s.vec()
			VMOVUPS(operand.Mem{Base: src, Disp: i * s.bytes()}, x)
			extreme(s, VMAXPS, acc[i], x, acc[i])
		}
	})
	store(s, acc, most)
}
