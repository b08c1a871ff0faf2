package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transposeX86 writes func(dst *float32, ldd int, src *float32, lds int, n int): eight rows of src, lds bytes apart, of n elements each become
// n rows of eight in dst, ldd bytes apart; n is a multiple of 8.
func transposeX86() {
	TEXT("transposeAVX2", NOSPLIT, "func(dst *float32, ldd int, src *float32, lds int, n int)")
	dst, ldd := Load(Param("dst"), GP64()), Load(Param("ldd"), GP64())
	src, lds := Load(Param("src"), GP64()), Load(Param("lds"), GP64())
	n := Load(Param("n"), GP64())
	src3, dst3 := GP64(), GP64()
	Label("loop")
	SUBQ(operand.Imm(8), n)
	JL(operand.LabelRef("done"))
	// A register reaches three rows.
	bases := func(base, stride, three, six reg.Register) {
		LEAQ(operand.Mem{Base: base, Index: stride, Scale: 2}, three)
		ADDQ(stride, three)
		LEAQ(operand.Mem{Base: three, Index: stride, Scale: 2}, six)
		ADDQ(stride, six)
	}
	src6, dst6 := GP64(), GP64()
	bases(src, lds, src3, src6)
	bases(dst, ldd, dst3, dst6)
	at := func(base, three, six, stride reg.Register, i int) operand.Mem {
		m := operand.Mem{Base: [...]reg.Register{base, three, six}[i/3]}
		if i%3 > 0 {
			m.Index, m.Scale = stride, uint8(i%3)
		}
		return m
	}
	var r [8]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVUPS(at(src, src3, src6, lds, i), r[i])
	}
	var u [8]reg.VecVirtual
	for i := 0; i < 8; i += 2 {
		u[i], u[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], u[i])
		VUNPCKHPS(r[i+1], r[i], u[i+1])
	}
	var s [8]reg.VecVirtual
	for half := range 2 { // rows 0-3, rows 4-7
		for i := range 2 {
			a, b := u[4*half+i], u[4*half+2+i]
			s[4*half+2*i], s[4*half+2*i+1] = YMM(), YMM()
			VSHUFPS(operand.Imm(0x44), b, a, s[4*half+2*i])
			VSHUFPS(operand.Imm(0xEE), b, a, s[4*half+2*i+1])
		}
	}
	for i := range 4 {
		low, high := YMM(), YMM()
		VPERM2F128(operand.Imm(0x20), s[4+i], s[i], low)
		VPERM2F128(operand.Imm(0x31), s[4+i], s[i], high)
		VMOVUPS(low, at(dst, dst3, dst6, ldd, i))
		VMOVUPS(high, at(dst, dst3, dst6, ldd, 4+i))
	}
	ADDQ(operand.Imm(32), src)
	LEAQ(operand.Mem{Base: dst, Index: ldd, Scale: 8}, dst)
	JMP(operand.LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

// words fills a register with a 16-bit constant.
func words(v uint32) reg.VecVirtual {
	y, r := YMM(), GP32()
	MOVL(operand.U32(v*0x10001), r)
	VMOVD(r, y.AsX())
	VPBROADCASTD(y.AsX(), y)
	return y
}

// decodeX86 writes func(dst *float32, src *byte, n int, scale float32): the values of float8e4m3fn codes times scale; n is a multiple of 16. A
// code moved left by 7 is a float16 of the value times 2^-8, which the processor widens, subnormals included.
func decodeX86() {
	TEXT("decodeE4M3FNAVX2", NOSPLIT, "func(dst *float32, src *byte, n int, scale float32)")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	scale, bias := YMM(), YMM()
	Load(Param("scale"), scale.AsX())
	VBROADCASTSS(scale.AsX(), scale)
	r := GP32()
	MOVL(operand.U32(0x43800000), r) // 2^8
	VMOVD(r, bias.AsX())
	VBROADCASTSS(bias.AsX(), bias)
	code, magnitude := words(0xBF80), words(0x3F80)
	Label("loop")
	SUBQ(operand.Imm(16), n)
	JL(operand.LabelRef("done"))
	h, a := YMM(), YMM()
	VPMOVSXBW(operand.Mem{Base: src}, h)
	VPSLLW(operand.Imm(7), h, h)
	VPAND(code, h, h)
	VPAND(magnitude, h, a)
	VPCMPEQW(magnitude, a, a) // NaN: the largest magnitude
	VPOR(a, h, h)
	low, high, top := YMM(), YMM(), XMM()
	VCVTPH2PS(h.AsX(), low)
	VEXTRACTI128(operand.Imm(1), h, top)
	VCVTPH2PS(top, high)
	for i, v := range []reg.VecVirtual{low, high} {
		VMULPS(bias, v, v)
		VMULPS(scale, v, v)
		VMOVUPS(v, operand.Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(operand.Imm(16), src)
	ADDQ(operand.Imm(64), dst)
	JMP(operand.LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

// widenX86 and narrowX86 write func(dst, src, n int) between float16 and float32; n is a multiple of 8.
func widenX86() {
	TEXT("widenFloat16AVX2", NOSPLIT, "func(dst *float32, src *uint16, n int)")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	Label("loop")
	SUBQ(operand.Imm(8), n)
	JL(operand.LabelRef("done"))
	v := YMM()
	VCVTPH2PS(operand.Mem{Base: src}, v)
	VMOVUPS(v, operand.Mem{Base: dst})
	ADDQ(operand.Imm(16), src)
	ADDQ(operand.Imm(32), dst)
	JMP(operand.LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

func narrowX86() {
	TEXT("narrowFloat16AVX2", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	Label("loop")
	SUBQ(operand.Imm(8), n)
	JL(operand.LabelRef("done"))
	v := YMM()
	VMOVUPS(operand.Mem{Base: src}, v)
	VCVTPS2PH(operand.Imm(0), v, operand.Mem{Base: dst}) // to nearest, ties to even
	ADDQ(operand.Imm(32), src)
	ADDQ(operand.Imm(16), dst)
	JMP(operand.LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}
