package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// order256 writes the permutation that undoes the interleaving of packs of four
// vectors of dwords.
func order256() operand.Mem {
	m := GLOBL("order256", RODATA|NOPTR)
	for i, d := range []int{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(i*4, operand.U32(d))
	}
	return m
}

// The AVX2 kernels keep their constants in the frame, because the sums and the
// work take all sixteen registers. One turn of the loop is 32 elements. Flags
// are bytes of 0 or 0xFF in the order that packing leaves, which is that of the
// codes too, so only the finished codes are put in order.
func cast256(s source, withError bool, order operand.Mem) {
	fn := name("cast", s, withError, "AVX2")
	TEXT(fn, NOSPLIT, fmt.Sprintf("func(dst *byte, src *%s, n int, p *byte, s *byte)", s.elem()))
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	n, params, state := Load(Param("n"), GP64()), Load(Param("p"), GP64()), Load(Param("s"), GP64())

	slot := func(y reg.VecVirtual) operand.Mem {
		m := AllocLocal(32)
		VMOVDQU(y, m)
		return m
	}
	param := func(offset int) operand.Mem {
		y := YMM()
		VPBROADCASTD(operand.Mem{Base: params, Disp: offset}, y)
		return slot(y)
	}
	tmp := GP64()
	constant := func(v uint32) operand.Mem {
		y := YMM()
		MOVL(operand.U32(v), tmp.As32())
		VMOVD(tmp.As32(), y.AsX())
		VPBROADCASTD(y.AsX(), y)
		return slot(y)
	}
	scale, next, addExp, floor := param(pScale), param(pNext), param(pAddExp), param(pFloor)
	shift, base, maxCode, nan, fnuz := param(pShift), param(pBase), param(pMaxCode), param(pNaN), param(pFNUZ)
	inverse, maxValue := param(pInverse), param(pMaxValue)
	exp, infinity, sign := constant(exponent), constant(s.infinity()), constant(0x80808080)
	absD, absW, odd := constant(absWord), constant(absWords), constant(oddWords)

	at := func(offset int) operand.Mem { return operand.Mem{Base: state, Disp: offset} }
	amax := YMM()
	if s == float32Source {
		VPBROADCASTD(at(sAmax), amax)
	} else {
		VPBROADCASTW(at(sAmax), amax)
	}
	saturated, flushed := GP64(), GP64()
	MOVQ(at(sSaturated), saturated)
	MOVQ(at(sFlushed), flushed)
	var sumSq, errSq [4]reg.VecVirtual
	if withError {
		for i := range 4 {
			sumSq[i], errSq[i] = YMM(), YMM()
			VMOVUPD(at(sSumSq+32*i), sumSq[i])
			VMOVUPD(at(sErrSq+32*i), errSq[i])
		}
	}
	square := func(v reg.VecVirtual, acc []reg.VecVirtual) {
		d := YMM()
		VCVTPS2PD(v.AsX(), d)
		VFMADD231PD(d, d, acc[0])
		VEXTRACTF128(imm(1), v, d.AsX())
		VCVTPS2PD(d.AsX(), d)
		VFMADD231PD(d, d, acc[1])
	}
	// round turns the magnitudes a into codes plus base, in place; half says
	// which eight of the sixteen lanes they belong to.
	round := func(a reg.VecVirtual, half int) {
		p, m := YMM(), YMM()
		VMULPS(scale, a, p)
		VMINPS(next, p, p) // a NaN becomes next
		VPAND(exp, p, m)
		VPADDD(addExp, m, m)
		VPMAXUD(floor, m, m)
		VADDPS(m, p, p)
		if withError {
			square(a, sumSq[2*half:])
			d := YMM()
			VSUBPS(m, p, d) // the rounded value itself, exactly
			VMINPS(maxValue, d, d)
			VMULPS(inverse, d, d)
			VSUBPS(d, a, d)
			square(d, errSq[2*half:])
		}
		VPSUBD(m, p, p)
		VPSRLVD(shift, m, m)
		VPADDD(m, p, a)
	}
	load := func(bytes int) operand.Mem { return operand.Mem{Base: src, Disp: bytes} }

	Label("loop")
	SUBQ(operand.Imm(32), n)
	JL(operand.LabelRef("done"))
	// codes16 returns the codes of sixteen elements as words.
	codes16 := func(i int) reg.VecVirtual {
		first, second := YMM(), YMM()
		switch s {
		case float32Source:
			for j, a := range []reg.VecVirtual{first, second} {
				VMOVDQU(absD, a)
				VPAND(load(64*i+32*j), a, a)
				VPMAXUD(a, amax, amax)
				round(a, j)
			}
			VPACKUSDW(second, first, first)
		case float16Source:
			VMOVDQU(absW, first)
			VPAND(load(32*i), first, first)
			VPMAXUW(first, amax, amax)
			for j, a := range []reg.VecVirtual{first, second} {
				VCVTPH2PS(load(32*i+16*j), a)
				VPAND(absD, a, a)
				round(a, j)
			}
			VPACKUSDW(second, first, first)
			VPERMQ(imm(0xD8), first, first) // in the order of the flags
		case bfloat16Source:
			x := YMM()
			VMOVDQU(absW, x)
			VPAND(load(32*i), x, x)
			VPMAXUW(x, amax, amax)
			VPSLLD(imm(16), x, first)
			round(first, 0)
			VPAND(odd, x, second)
			round(second, 1)
			VPSLLD(imm(16), second, second)
			VPOR(second, first, first)
		}
		VPSUBW(base, first, first)
		return first
	}
	codes := codes16(0)
	VPACKUSWB(codes16(1), codes, codes)

	// flags makes bytes of something about every element: of sources 2i and
	// 2i+1 of the four float32 vectors, or i of the two 16-bit ones.
	flags := func(of func(v reg.VecVirtual)) reg.VecVirtual {
		var word [2]reg.VecVirtual
		for i := range 2 {
			word[i] = YMM()
			VMOVDQU(load(32*i), word[i])
			if s != float32Source {
				of(word[i])
				continue
			}
			high := YMM()
			VMOVDQU(load(64*i), word[i])
			of(word[i])
			VMOVDQU(load(64*i+32), high)
			of(high)
			VPACKSSDW(high, word[i], word[i])
		}
		VPACKSSWB(word[1], word[0], word[0])
		return word[0]
	}
	isNaN := flags(func(v reg.VecVirtual) {
		if s == float32Source {
			VPAND(absD, v, v)
			VPCMPGTD(infinity, v, v)
		} else {
			VPAND(absW, v, v)
			VPCMPGTW(infinity, v, v)
		}
	})
	isZero := flags(func(v reg.VecVirtual) {
		zero := YMM()
		VPXOR(zero, zero, zero)
		if s == float32Source {
			VPAND(absD, v, v)
			VPCMPEQD(zero, v, v)
		} else {
			VPAND(absW, v, v)
			VPCMPEQW(zero, v, v)
		}
	})
	signs := flags(func(reg.VecVirtual) {}) // packing with saturation keeps the sign
	VPAND(sign, signs, signs)

	count := GP64()
	tally := func(v reg.VecVirtual, into reg.GPVirtual) {
		VPMOVMSKB(v, count.As32())
		POPCNTL(count.As32(), count.As32())
		ADDQ(count, into)
	}
	clamped, over := YMM(), YMM()
	VPMINUB(maxCode, codes, clamped)
	VPCMPEQB(codes, clamped, over) // 0xFF where nothing was clamped
	VPOR(isNaN, over, over)
	all := YMM()
	VPCMPEQB(all, all, all)
	VPXOR(all, over, over)
	tally(over, saturated)
	zeroCode := YMM()
	VPXOR(zeroCode, zeroCode, zeroCode)
	VPCMPEQB(clamped, zeroCode, zeroCode)
	VPANDN(zeroCode, isZero, over)
	tally(over, flushed)
	VPAND(fnuz, zeroCode, zeroCode)
	VPANDN(signs, zeroCode, signs)
	VPOR(signs, clamped, clamped)
	VPBLENDVB(isNaN, nan, clamped, clamped)
	if s != float32Source {
		VPERMQ(imm(0xD8), clamped, clamped)
	} else {
		idx := YMM()
		VMOVDQU(order, idx)
		VPERMD(clamped, idx, clamped)
	}
	VMOVDQU(clamped, operand.Mem{Base: dst})
	ADDQ(operand.Imm(32), dst)
	ADDQ(operand.U32(32*s.size()), src)
	JMP(operand.LabelRef("loop"))

	Label("done")
	reduce256(amax, s.size())
	storeLowest(amax, s.size(), at(sAmax))
	MOVQ(saturated, at(sSaturated))
	MOVQ(flushed, at(sFlushed))
	if withError {
		for i := range 4 {
			VMOVUPD(sumSq[i], at(sSumSq+32*i))
			VMOVUPD(errSq[i], at(sErrSq+32*i))
		}
	}
	VZEROUPPER()
	RET()
}

func amax256(size int) {
	fn, signature := amaxSignature(size)
	TEXT(fn+"AVX2", NOSPLIT, signature)
	src, n := Load(Param("src"), GP64()), Load(Param("n"), GP64())
	mask, r := YMM(), GP32()
	MOVL(operand.U32(map[int]uint32{4: absWord, 2: absWords}[size]), r)
	VMOVD(r, mask.AsX())
	VPBROADCASTD(mask.AsX(), mask)
	vectors := 2 * size // 64 elements
	acc := make([]reg.VecVirtual, 4)
	for i := range acc {
		acc[i] = YMM()
		VPXOR(acc[i], acc[i], acc[i])
	}
	Label("loop")
	SUBQ(operand.Imm(64), n)
	JL(operand.LabelRef("done"))
	for i := range vectors {
		v := YMM()
		VPAND(operand.Mem{Base: src, Disp: 32 * i}, mask, v)
		maximum(size, v, acc[i%4], acc[i%4])
	}
	ADDQ(operand.U32(64*size), src)
	JMP(operand.LabelRef("loop"))
	Label("done")
	for i := 1; i < 4; i++ {
		maximum(size, acc[i], acc[0], acc[0])
	}
	reduce256(acc[0], size)
	finishAmax(acc[0], size)
}
