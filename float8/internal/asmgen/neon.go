package main

import (
	"bytes"
	"fmt"
	"os"
)

// The NEON kernels. avo does not write arm64, and Go's assembler lacks most
// vector arithmetic of that processor, so the instructions that it lacks are
// encoded here, with the Arm mnemonic beside them. Encodings are those of the
// Arm Architecture Reference Manual, "Advanced SIMD data-processing".
//
// A turn of the loop is 16 elements. Work happens in v0-v11. Casts keep their
// constants in v16-v28 and their tallies in v29-v31; with error sums v16-v31
// hold these, the constants are in the frame, and tallies in v13-v15.
type neon struct {
	bytes.Buffer
	resident bool // constants are in registers
}

const (
	rDst, rSrc, rN, rParams, rState, rSums, rConst, rTmp, rTmp2 = 0, 1, 2, 3, 4, 5, 6, 7, 8

	vScratch = 12
)

// The constants, by number.
const (
	cScale = iota
	cNext
	cAddExp
	cFloor
	cShift // negated: USHL shifts right by it
	cBase
	cMaxCode
	cNaN
	cFNUZ
	cExp
	cInfinity
	cAbs
	cSign
	cInverse
	cMaxValue
	numConstants
)

func (k *neon) line(format string, args ...any) { fmt.Fprintf(k, format+"\n", args...) }

// word emits one instruction as its encoding.
func (k *neon) word(code uint32, format string, args ...any) {
	k.line("\tWORD $0x%08X // %s", code, fmt.Sprintf(format, args...))
}

// three emits an instruction on three vectors; code is that of v0, v0, v0.
func (k *neon) three(code uint32, mnemonic, arrangement string, d, n, m int) {
	k.word(code|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s v%d.%[5]s, v%[3]d.%[5]s, v%[4]d.%[5]s", mnemonic, d, n, m, arrangement)
}

// two emits an instruction on two vectors.
func (k *neon) two(code uint32, mnemonic, to, from string, d, n int) {
	k.word(code|uint32(n)<<5|uint32(d), "%s v%d%s, v%d%s", mnemonic, d, to, n, from)
}

func (k *neon) fmul(d, n, m int)   { k.three(0x6E20DC00, "fmul", "4s", d, n, m) }
func (k *neon) fadd(d, n, m int)   { k.three(0x4E20D400, "fadd", "4s", d, n, m) }
func (k *neon) fsub(d, n, m int)   { k.three(0x4EA0D400, "fsub", "4s", d, n, m) }
func (k *neon) fminnm(d, n, m int) { k.three(0x4EA0C400, "fminnm", "4s", d, n, m) }
func (k *neon) fmla(d, n, m int)   { k.three(0x4E60CC00, "fmla", "2d", d, n, m) }
func (k *neon) and(d, n, m int)    { k.three(0x4E201C00, "and", "16b", d, n, m) }
func (k *neon) bic(d, n, m int)    { k.three(0x4E601C00, "bic", "16b", d, n, m) }
func (k *neon) orr(d, n, m int)    { k.three(0x4EA01C00, "orr", "16b", d, n, m) }
func (k *neon) bit(d, n, m int)    { k.three(0x6EA01C00, "bit", "16b", d, n, m) }
func (k *neon) ushl(d, n, m int)   { k.three(0x6EA04400, "ushl", "4s", d, n, m) }
func (k *neon) umin(d, n, m int)   { k.three(0x6E206C00, "umin", "16b", d, n, m) }
func (k *neon) sub8h(d, n, m int)  { k.three(0x6E608400, "sub", "8h", d, n, m) }
func (k *neon) uzp1(e elem, d, n, m int) {
	k.three(0x4E001800|e.size<<22, "uzp1", e.name, d, n, m)
}
func (k *neon) uzp2(e elem, d, n, m int) {
	k.three(0x4E005800|e.size<<22, "uzp2", e.name, d, n, m)
}
func (k *neon) add4s(d, n, m int) { k.three(0x4EA08400, "add", "4s", d, n, m) }
func (k *neon) sub4s(d, n, m int) { k.three(0x6EA08400, "sub", "4s", d, n, m) }
func (k *neon) umax(e elem, d, n, m int) {
	k.three(0x6E206400|e.size<<22, "umax", e.name, d, n, m)
}
func (k *neon) cmhi(e elem, d, n, m int) {
	k.three(0x6E203400|e.size<<22, "cmhi", e.name, d, n, m)
}
func (k *neon) cmeq0(e elem, d, n int) {
	k.word(0x4E209800|e.size<<22|uint32(n)<<5|uint32(d), "cmeq v%d.%s, v%d.%[2]s, #0", d, e.name, n)
}
func (k *neon) umaxv(e elem, d, n int) {
	k.word(0x6E30A800|e.size<<22|uint32(n)<<5|uint32(d), "umaxv %s%d, v%d.%s", e.scalar, d, n, e.name)
}

// elem is an arrangement of a whole vector.
type elem struct {
	size         uint32
	name, scalar string
}

var (
	b16 = elem{0, "16b", "b"}
	h8  = elem{1, "8h", "h"}
	s4  = elem{2, "4s", "s"}
)

func (k *neon) ldr(v, base, offset int) {
	k.word(0x3DC00000|uint32(offset/16)<<10|uint32(base)<<5|uint32(v), "ldr q%d, [x%d, #%d]", v, base, offset)
}

func (k *neon) str(v, base, offset int) {
	k.word(0x3D800000|uint32(offset/16)<<10|uint32(base)<<5|uint32(v), "str q%d, [x%d, #%d]", v, base, offset)
}

func (k *neon) replicate(e elem, v, base int) {
	k.word(0x4D40C000|e.size<<10|uint32(base)<<5|uint32(v), "ld1r {v%d.%s}, [x%d]", v, e.name, base)
}

func (k *neon) dup(v, r int) {
	k.word(0x4E040C00|uint32(r)<<5|uint32(v), "dup v%d.4s, w%d", v, r)
}

// constant returns the register that holds the constant, loading it if need be;
// that register is good for one instruction.
func (k *neon) constant(c int) int {
	if k.resident {
		return 16 + c
	}
	k.ldr(vScratch, rConst, 16*c)
	return vScratch
}

func (k *neon) cast(s source, withError bool) {
	k.resident = !withError
	element := h8
	if s == float32Source {
		element = s4
	}
	amax, saturated, flushed := 29, 30, 31
	if withError {
		amax, saturated, flushed = 13, 14, 15
	}
	fn := name("cast", s, withError, "NEON")
	k.line("\n// func %s(dst *byte, src *%s, n int, p *kernelParams, s *tally)", fn, s.elem())
	frame := 0
	if withError {
		frame = 16 * numConstants
	}
	k.line("TEXT ·%s(SB), NOSPLIT, $%d-40", fn, frame)
	for i, arg := range []string{"dst", "src", "n", "p", "s"} {
		k.line("\tMOVD %s+%d(FP), R%d", arg, 8*i, i)
	}
	if withError {
		k.line("\tMOVD $constants-%d(SP), R%d", frame, rConst)
	}
	k.line("\tADD $%d, R%d, R%d", sSumSq, rState, rSums)
	set := func(c int, from int) { // from is the register to keep
		if withError {
			k.str(from, rConst, 16*c)
		}
	}
	into := func(c int) int {
		if withError {
			return 0
		}
		return 16 + c
	}
	params := []struct{ c, offset int }{
		{cScale, pScale}, {cNext, pNext}, {cAddExp, pAddExp}, {cFloor, pFloor}, {cShift, pShift}, {cBase, pBase},
		{cMaxCode, pMaxCode}, {cNaN, pNaN}, {cFNUZ, pFNUZ},
	}
	if withError {
		params = append(params, []struct{ c, offset int }{{cInverse, pInverse}, {cMaxValue, pMaxValue}}...)
	}
	for _, p := range params {
		k.line("\tADD $%d, R%d, R%d", p.offset, rParams, rTmp)
		k.replicate(s4, into(p.c), rTmp)
		if p.c == cShift {
			k.two(0x6EA0B800, "neg", ".4s", ".4s", into(p.c), into(p.c))
		}
		set(p.c, into(p.c))
	}
	abs := uint32(absWords)
	if s == float32Source {
		abs = absWord
	}
	for _, c := range []struct {
		c int
		v uint32
	}{{cExp, exponent}, {cInfinity, s.infinity()}, {cAbs, abs}, {cSign, 0x80808080}} {
		k.line("\tMOVW $0x%08X, R%d", c.v, rTmp)
		k.dup(into(c.c), rTmp)
		set(c.c, into(c.c))
	}
	k.replicate(element, amax, rState)
	for _, v := range []int{saturated, flushed} {
		k.line("\tVEOR V%d.B16, V%[1]d.B16, V%[1]d.B16", v)
	}
	if withError {
		for i := range 16 {
			k.ldr(16+i, rSums, 16*i)
		}
	}

	k.line("loop:")
	k.line("\tSUBS $16, R%d, R%[1]d", rN)
	k.line("\tBLT done")
	// What can be said of the source alone, a byte for each element: v9 where it
	// is NaN, v10 where it is zero, v11 its sign.
	if s == float32Source {
		for i := range 4 {
			k.ldr(i, rSrc, 16*i)
		}
		k.uzp2(h8, 4, 0, 1)
		k.uzp2(h8, 5, 2, 3)
		k.uzp2(b16, 11, 4, 5)
		for i := range 4 {
			k.and(i, i, k.constant(cAbs))
			k.umax(s4, amax, amax, i)
			k.cmhi(s4, 4+i, i, k.constant(cInfinity))
			k.cmeq0(s4, i, i)
		}
		for _, v := range [][2]int{{4, 9}, {0, 10}} {
			k.uzp1(h8, v[0], v[0], v[0]+1)
			k.uzp1(h8, v[0]+2, v[0]+2, v[0]+3)
			k.uzp1(b16, v[1], v[0], v[0]+2)
		}
	} else {
		for i := range 2 {
			k.ldr(i, rSrc, 16*i)
		}
		k.uzp2(b16, 11, 0, 1)
		for i := range 2 {
			k.and(i, i, k.constant(cAbs))
			k.umax(h8, amax, amax, i)
			k.cmhi(h8, 2+i, i, k.constant(cInfinity))
			k.cmeq0(h8, i, i)
		}
		k.uzp1(b16, 9, 2, 3)
		k.uzp1(b16, 10, 0, 1)
	}
	k.and(11, 11, k.constant(cSign))
	// The codes: four vectors of four, joined as they come, to v5 and v6.
	for i := range 4 {
		switch {
		case s == float32Source:
			k.ldr(0, rSrc, 16*i)
			k.and(0, 0, k.constant(cAbs))
		case i%2 == 0:
			k.ldr(8, rSrc, 8*i)
			k.and(8, 8, k.constant(cAbs))
		}
		switch {
		case s == bfloat16Source && i%2 == 0:
			k.word(0x2E613800|8<<5, "shll v0.4s, v8.4h, #16")
		case s == bfloat16Source:
			k.word(0x6E613800|8<<5, "shll2 v0.4s, v8.8h, #16")
		case s == float16Source && i%2 == 0:
			k.word(0x0E217800|8<<5, "fcvtl v0.4s, v8.4h")
		case s == float16Source:
			k.word(0x4E217800|8<<5, "fcvtl2 v0.4s, v8.8h")
		}
		k.round(5+i/2+i%2, i, withError)
		if i%2 == 1 {
			w := 5 + i/2
			k.uzp1(h8, w, w, w+1)
			k.sub8h(w, w, k.constant(cBase))
		}
	}
	k.uzp1(b16, 5, 5, 6)
	k.cmhi(b16, 0, 5, k.constant(cMaxCode))
	k.bic(0, 0, 9)
	k.count(saturated, 0)
	k.umin(5, 5, k.constant(cMaxCode))
	k.cmeq0(b16, 0, 5)
	k.bic(1, 0, 10)
	k.count(flushed, 1)
	k.and(0, 0, k.constant(cFNUZ))
	k.bic(11, 11, 0)
	k.orr(5, 5, 11)
	k.bit(5, k.constant(cNaN), 9)
	k.str(5, rDst, 0)
	k.line("\tADD $16, R%d, R%[1]d", rDst)
	k.line("\tADD $%d, R%d, R%[2]d", 16*s.size(), rSrc)
	k.line("\tB loop")

	k.line("done:")
	k.umaxv(element, 0, amax)
	k.line("\tVMOV V0.%s[0], R%d", map[elem]string{s4: "S", h8: "H"}[element], rTmp)
	k.line("\tMOVWU R%d, %d(R%d)", rTmp, sAmax, rState)
	for _, c := range []struct{ v, offset int }{{saturated, sSaturated}, {flushed, sFlushed}} {
		k.word(0x6EB03800|uint32(c.v)<<5, "uaddlv d0, v%d.4s", c.v)
		k.line("\tVMOV V0.D[0], R%d", rTmp)
		k.line("\tMOVD %d(R%d), R%d", c.offset, rState, rTmp2)
		k.line("\tADD R%d, R%d, R%[2]d", rTmp2, rTmp)
		k.line("\tMOVD R%d, %d(R%d)", rTmp, c.offset, rState)
	}
	if withError {
		for i := range 16 {
			k.str(16+i, rSums, 16*i)
		}
	}
	k.line("\tRET")
}

// round turns the magnitudes in v0, the i-th of four vectors, into codes plus
// base in d. It may change v0 to v4.
func (k *neon) round(d, i int, withError bool) {
	const a, p, m, e, wide = 0, 1, 2, 3, 4
	k.fmul(p, a, k.constant(cScale))
	k.fminnm(p, p, k.constant(cNext)) // a NaN becomes next
	k.and(m, p, k.constant(cExp))
	k.add4s(m, m, k.constant(cAddExp))
	k.umax(s4, m, m, k.constant(cFloor))
	k.fadd(p, p, m)
	if withError {
		square := func(v, acc int) {
			k.word(0x0E617800|uint32(v)<<5|wide, "fcvtl v%d.2d, v%d.2s", wide, v)
			k.fmla(acc, wide, wide)
			k.word(0x4E617800|uint32(v)<<5|wide, "fcvtl2 v%d.2d, v%d.4s", wide, v)
			k.fmla(acc+1, wide, wide)
		}
		square(a, 16+2*i)
		k.fsub(e, p, m) // the rounded value itself, exactly
		k.fminnm(e, e, k.constant(cMaxValue))
		k.fmul(e, e, k.constant(cInverse))
		k.fsub(e, a, e)
		square(e, 24+2*i)
	}
	k.sub4s(p, p, m)
	k.ushl(m, m, k.constant(cShift))
	k.add4s(d, p, m)
}

// count adds the number of bytes of v that are 0xFF to the four lanes of acc.
func (k *neon) count(acc, v int) {
	k.word(0x6F090400|uint32(v)<<5|2, "ushr v2.16b, v%d.16b, #7", v)
	k.two(0x6E202800, "uaddlp", ".8h", ".16b", 2, 2)
	k.two(0x6E606800, "uadalp", ".4s", ".8h", acc, 2)
}

func (k *neon) amax(size int) {
	element, lane, mask := s4, "S", uint32(absWord)
	if size == 2 {
		element, lane, mask = h8, "H", absWords
	}
	fn, signature := amaxSignature(size)
	k.line("\n// func %sNEON%s", fn, signature[len("func"):])
	k.line("TEXT ·%sNEON(SB), NOSPLIT, $0-20", fn)
	k.line("\tMOVD src+0(FP), R%d", rSrc)
	k.line("\tMOVD n+8(FP), R%d", rN)
	k.line("\tMOVW $0x%08X, R%d", mask, rTmp)
	k.dup(16, rTmp)
	for i := range 4 {
		k.line("\tVEOR V%d.B16, V%[1]d.B16, V%[1]d.B16", i)
	}
	k.line("loop:")
	k.line("\tSUBS $%d, R%d, R%[2]d", 64/size, rN)
	k.line("\tBLT done")
	for i := range 4 {
		k.ldr(4+i, rSrc, 16*i)
		k.and(4+i, 4+i, 16)
		k.umax(element, i, i, 4+i)
	}
	k.line("\tADD $64, R%d, R%[1]d", rSrc)
	k.line("\tB loop")
	k.line("done:")
	for i := 1; i < 4; i++ {
		k.umax(element, 0, 0, i)
	}
	k.umaxv(element, 0, 0)
	k.line("\tVMOV V0.%s[0], R%d", lane, rTmp)
	k.line("\tMOVW R%d, ret+16(FP)", rTmp)
	k.line("\tRET")
}

func writeNEON(path string) error {
	k := new(neon)
	k.line("// Code generated by internal/asmgen. DO NOT EDIT.\n")
	k.line("//go:build !purego\n")
	k.line("#include \"textflag.h\"")
	for _, s := range []source{float32Source, float16Source, bfloat16Source} {
		for _, withError := range []bool{false, true} {
			k.cast(s, withError)
		}
	}
	k.amax(4)
	k.amax(2)
	return os.WriteFile(path, k.Bytes(), 0o644)
}
