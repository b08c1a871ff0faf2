package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// order512 writes the permutation that undoes the interleaving of packs.
func order512(name string, dwords bool) operand.Mem {
	m := GLOBL(name, RODATA|NOPTR)
	if dwords { // four vectors of dwords packed to one of bytes
		for j := range 4 {
			for l := range 4 {
				DATA((j*4+l)*4, operand.U32(l*4+j))
			}
		}
		return m
	}
	for i, q := range []int{0, 2, 4, 6, 1, 3, 5, 7} { // two vectors of words
		DATA(i*8, operand.U64(q))
	}
	return m
}

func cast512(s source, withError bool, orders [2]operand.Mem) {
	fn := name("cast", s, withError, "AVX512")
	order := orders[0]
	if s == bfloat16Source {
		order = orders[1]
	}
	TEXT(fn, NOSPLIT, fmt.Sprintf("func(dst *byte, src *%s, n int, p *byte, s *byte)", s.elem()))
	dst, src := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	n, params, state := Load(Param("n"), GP64()), Load(Param("p"), GP64()), Load(Param("s"), GP64())

	tmp := GP64()
	param := func(offset int) reg.VecVirtual {
		z := ZMM()
		VPBROADCASTD(operand.Mem{Base: params, Disp: offset}, z)
		return z
	}
	constant := func(v uint32) reg.VecVirtual {
		z := ZMM()
		MOVL(operand.U32(v), tmp.As32())
		VPBROADCASTD(tmp.As32(), z)
		return z
	}
	scale, next, addExp, floor := param(pScale), param(pNext), param(pAddExp), param(pFloor)
	shift, base, maxCode, nan := param(pShift), param(pBase), param(pMaxCode), param(pNaN)
	var inverse, maxValue reg.VecVirtual
	if withError {
		inverse, maxValue = param(pInverse), param(pMaxValue)
	}
	exp, infinity, sign := constant(exponent), constant(s.infinity()), constant(0x80808080)
	var absD, absW, odd reg.VecVirtual
	if s != bfloat16Source {
		absD = constant(absWord)
	} else {
		odd = constant(oddWords)
	}
	if s != float32Source {
		absW = constant(absWords)
	}
	perm := ZMM()
	VMOVDQU64(order, perm)
	fnuz := K()
	MOVLQSX(operand.Mem{Base: params, Disp: pFNUZ}, tmp)
	KMOVQ(tmp, fnuz)

	at := func(offset int) operand.Mem { return operand.Mem{Base: state, Disp: offset} }
	amax := ZMM()
	if s == float32Source {
		VPBROADCASTD(at(sAmax), amax)
	} else {
		VPBROADCASTW(at(sAmax), amax)
	}
	saturated, flushed := GP64(), GP64()
	MOVQ(at(sSaturated), saturated)
	MOVQ(at(sFlushed), flushed)
	var sumSq, errSq [2]reg.VecVirtual
	if withError {
		for i := range 2 {
			sumSq[i], errSq[i] = ZMM(), ZMM()
			VMOVUPD(at(sSumSq+64*i), sumSq[i])
			VMOVUPD(at(sErrSq+64*i), errSq[i])
		}
	}
	square := func(v reg.VecVirtual, low, high reg.VecVirtual) {
		d, half := ZMM(), YMM()
		VCVTPS2PD(v.AsY(), d)
		VFMADD231PD(d, d, low)
		VEXTRACTF64X4(imm(1), v, half)
		VCVTPS2PD(half, d)
		VFMADD231PD(d, d, high)
	}
	// round turns the magnitudes a into codes plus base; low and high say which
	// lanes the halves of a belong to.
	round := func(a reg.VecVirtual, low, high int) reg.VecVirtual {
		p, m := ZMM(), ZMM()
		VMULPS(scale, a, p)
		VMINPS(next, p, p) // a NaN becomes next
		VPANDD(exp, p, m)
		VPADDD(addExp, m, m)
		VPMAXUD(floor, m, m)
		VADDPS(m, p, p)
		if withError {
			square(a, sumSq[low], sumSq[high])
			d := ZMM()
			VSUBPS(m, p, d) // the rounded value itself, exactly
			VMINPS(maxValue, d, d)
			VMULPS(inverse, d, d)
			VSUBPS(d, a, d)
			square(d, errSq[low], errSq[high])
		}
		VPSUBD(m, p, p)
		VPSRLVD(shift, m, m)
		VPADDD(m, p, p)
		return p
	}
	load := func(bytes int) operand.Mem { return operand.Mem{Base: src, Disp: bytes} }

	Label("loop")
	SUBQ(operand.Imm(64), n)
	JL(operand.LabelRef("done"))
	kNaN, kZero, kSign := K(), K(), K()
	codes := ZMM()
	var nans, zeros, signs []reg.OpmaskVirtual
	flags := func() (n, z, s reg.OpmaskVirtual) {
		n, z, s = K(), K(), K()
		nans, zeros, signs = append(nans, n), append(zeros, z), append(signs, s)
		return
	}
	var words [2]reg.VecVirtual
	switch s {
	case float32Source:
		// The 16-bit masks are joined in general registers: there are too few
		// mask registers, and the scalar ports are idle.
		var joined [3]reg.GPVirtual
		for i := range joined {
			joined[i] = GP64()
			XORL(joined[i].As32(), joined[i].As32())
		}
		var c [4]reg.VecVirtual
		for i := range 4 {
			v, a := ZMM(), ZMM()
			VMOVDQU32(load(64*i), v)
			kn, kz, ks := K(), K(), K()
			VPMOVD2M(v, ks)
			VPANDD(absD, v, a)
			VPMAXUD(a, amax, amax)
			VPCMPUD(imm(6), infinity, a, kn)
			VPTESTNMD(a, a, kz)
			for j, k := range []reg.OpmaskVirtual{kn, kz, ks} {
				r := GP64()
				KMOVW(k, r.As32())
				ORQ(r, joined[j])
				RORQ(imm(16), joined[j]) // four of these put all back in order
			}
			c[i] = round(a, 0, 1)
			if i%2 == 1 {
				words[i/2] = c[i-1]
				VPACKUSDW(c[i], c[i-1], c[i-1])
			}
		}
		KMOVQ(joined[0], kNaN)
		KMOVQ(joined[1], kZero)
		KMOVQ(joined[2], kSign)
	default:
		for i := range 2 {
			x, a := ZMM(), ZMM()
			VMOVDQU16(load(64*i), x)
			kn, kz, ks := flags()
			VPMOVW2M(x, ks)
			VPANDD(absW, x, a)
			VPMAXUW(a, amax, amax)
			VPCMPUW(imm(6), infinity, a, kn)
			VPTESTNMW(a, a, kz)
			first, second := ZMM(), ZMM()
			if s == bfloat16Source {
				VPSLLD(imm(16), a, first)
				VPANDD(odd, a, second)
				words[i] = round(first, 0, 0)
				c := round(second, 1, 1)
				VPSLLD(imm(16), c, c)
				VPORD(c, words[i], words[i])
				continue
			}
			VCVTPH2PS(load(64*i), first)
			VPANDD(absD, first, first)
			words[i] = round(first, 0, 1)
			VCVTPH2PS(load(64*i+32), second)
			VPANDD(absD, second, second)
			VPACKUSDW(round(second, 0, 1), words[i], words[i])
		}
		KUNPCKDQ(nans[0], nans[1], kNaN)
		KUNPCKDQ(zeros[0], zeros[1], kZero)
		KUNPCKDQ(signs[0], signs[1], kSign)
	}
	for i := range 2 {
		VPSUBW(base, words[i], words[i])
	}
	VPACKUSWB(words[1], words[0], codes)
	if s == bfloat16Source {
		VPERMQ(codes, perm, codes)
	} else {
		VPERMD(codes, perm, codes)
	}
	count, k := GP64(), K()
	VPCMPUB(imm(6), maxCode, codes, k)
	VPMINUB(maxCode, codes, codes)
	KANDNQ(k, kNaN, k)
	KMOVQ(k, count)
	POPCNTQ(count, count)
	ADDQ(count, saturated)
	zeroCode := K()
	VPTESTNMB(codes, codes, zeroCode)
	KANDNQ(zeroCode, kZero, k)
	KMOVQ(k, count)
	POPCNTQ(count, count)
	ADDQ(count, flushed)
	KANDQ(fnuz, zeroCode, zeroCode)
	KANDNQ(kSign, zeroCode, kSign)
	VPADDB(sign, codes, kSign, codes)
	VMOVDQU8(nan, kNaN, codes)
	VMOVDQU8(codes, operand.Mem{Base: dst})
	ADDQ(operand.Imm(64), dst)
	ADDQ(operand.U32(64*s.size()), src)
	JMP(operand.LabelRef("loop"))

	Label("done")
	reduce512(amax, s.size())
	storeLowest(amax, s.size(), at(sAmax))
	MOVQ(saturated, at(sSaturated))
	MOVQ(flushed, at(sFlushed))
	if withError {
		for i := range 2 {
			VMOVUPD(sumSq[i], at(sSumSq+64*i))
			VMOVUPD(errSq[i], at(sErrSq+64*i))
		}
	}
	VZEROUPPER()
	RET()
}

// reduce512 leaves the largest of z's unsigned elements in its lowest one.
func reduce512(z reg.VecVirtual, size int) {
	y := YMM()
	VEXTRACTI64X4(imm(1), z, y)
	maximum(size, y, z.AsY(), z.AsY())
	x := XMM()
	VEXTRACTI32X4(imm(1), z.AsY(), x)
	reduce128(z, x, size)
}

func reduce256(v reg.VecVirtual, size int) {
	x := XMM()
	VEXTRACTI128(imm(1), v.AsY(), x)
	reduce128(v, x, size)
}

// reduce128 reduces v's low half and x, its high half.
func reduce128(v, x reg.VecVirtual, size int) {
	maximum(size, x, v.AsX(), v.AsX())
	for b := 8; b >= size; b /= 2 {
		VPSRLDQ(imm(uint64(b)), v.AsX(), x)
		maximum(size, x, v.AsX(), v.AsX())
	}
}

func maximum(size int, a, b, dst operand.Op) {
	if size == 4 {
		VPMAXUD(a, b, dst)
	} else {
		VPMAXUW(a, b, dst)
	}
}

// storeLowest stores the lowest element, zero-extended to 32 bits.
func storeLowest(v reg.VecVirtual, size int, dst operand.Mem) {
	r := GP32()
	VMOVD(v.AsX(), r)
	if size == 2 {
		MOVWLZX(r.As16(), r)
	}
	MOVL(r, dst)
}

func amaxSignature(size int) (string, string) {
	if size == 4 {
		return "amax32", "func(src *float32, n int) uint32"
	}
	return "amax16", "func(src *uint16, n int) uint32"
}

func amax512(size int) {
	fn, signature := amaxSignature(size)
	TEXT(fn+"AVX512", NOSPLIT, signature)
	src, n := Load(Param("src"), GP64()), Load(Param("n"), GP64())
	mask, r := ZMM(), GP32()
	MOVL(operand.U32(map[int]uint32{4: absWord, 2: absWords}[size]), r)
	VPBROADCASTD(r, mask)
	vectors := size // 64 elements take size vectors of 64 bytes
	acc := make([]reg.VecVirtual, vectors)
	for i := range acc {
		acc[i] = ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	Label("loop")
	SUBQ(operand.Imm(64), n)
	JL(operand.LabelRef("done"))
	for i := range acc {
		v := ZMM()
		VPANDD(operand.Mem{Base: src, Disp: 64 * i}, mask, v)
		maximum(size, v, acc[i], acc[i])
	}
	ADDQ(operand.U32(64*size), src)
	JMP(operand.LabelRef("loop"))
	Label("done")
	for i := 1; i < vectors; i++ {
		maximum(size, acc[i], acc[0], acc[0])
	}
	reduce512(acc[0], size)
	finishAmax(acc[0], size)
}

func finishAmax(v reg.VecVirtual, size int) {
	r := GP32()
	VMOVD(v.AsX(), r)
	if size == 2 {
		MOVWLZX(r.As16(), r)
	}
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}
