// Command asmgen writes the amd64 kernels of package float8, with avo, and the
// arm64 ones. It is a module of
// its own so that its generator does not become a requirement of the package.
//
// Every cast kernel has the Go signature
//
//	func(dst *byte, src *T, n int, p *kernelParams, s *kernelState)
//
// with n a multiple of 64. It takes what s holds, adds what it saw and stores
// it back. Offsets into p and s are those of the structs in kernels.go.
//
// How a magnitude a = |v| becomes a code: p = a·scale, clamped to the value that
// would follow the largest finite one. With e the exponent of p, not less than
// that of the smallest normal, adding m = 2^(e+23-man) to p makes the processor
// round p to man mantissa bits, ties to even, and leaves the rounded mantissa in
// the low bits of the sum: bits(p+m) - bits(m). Adding the exponent in the place
// where the code has it, bits(m) >> (23-man) less a constant, gives the code.
package main

import (
	"flag"
	"fmt"
	"os"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
)

// Offsets into kernelParams.
const (
	pScale    = 4 * iota // multiplier, float32
	pNext                // value after the largest finite one, float32
	pAddExp              // (23-man) << 23
	pFloor               // least m, float32
	pShift               // 23-man
	pBase                // what to take off the code, twice as 16 bits
	pMaxCode             // four times
	pNaN                 // four times
	pFNUZ                // all ones for FNUZ formats, else zero
	pInverse             // 1/scale, float32
	pMaxValue            // largest finite value, float32
)

// Offsets into kernelState.
const (
	sAmax      = 0 // bits of the source's own format
	sSaturated = 8
	sFlushed   = 16
	sSumSq     = 24
	sErrSq     = 24 + 16*8
)

type source int

const (
	float32Source source = iota
	float16Source
	bfloat16Source
)

func (s source) String() string { return [...]string{"Float32", "Float16", "BFloat16"}[s] }
func (s source) size() int      { return [...]int{4, 2, 2}[s] }
func (s source) elem() string   { return [...]string{"float32", "uint16", "uint16"}[s] }

// infinity is the source's infinity, twice if it is 16 bits wide.
func (s source) infinity() uint32 { return [...]uint32{0x7F800000, 0x7C007C00, 0x7F807F80}[s] }

const (
	absWords = 0x7FFF7FFF
	absWord  = 0x7FFFFFFF
	exponent = 0x7F800000
	oddWords = 0xFFFF0000
)

func imm(v uint64) operand.Op { return operand.Imm(v) }

func main() {
	arm64 := flag.String("arm64", "", "`file` for the NEON kernels")
	flag.Parse()
	if *arm64 != "" {
		if err := writeNEON(*arm64); err != nil {
			fmt.Fprintln(os.Stderr, "asmgen:", err)
			os.Exit(1)
		}
	}
	ConstraintExpr("!purego")
	orders512 := [2]operand.Mem{order512("order512Dwords", true), order512("order512Words", false)}
	orders256 := order256()
	for _, s := range []source{float32Source, float16Source, bfloat16Source} {
		for _, withError := range []bool{false, true} {
			cast512(s, withError, orders512)
			cast256(s, withError, orders256)
		}
	}
	for _, size := range []int{4, 2} {
		amax512(size)
		amax256(size)
	}
	Generate()
}

func name(verb string, s source, withError bool, isa string) string {
	if withError {
		verb += "Error"
	}
	return verb + s.String() + isa
}
