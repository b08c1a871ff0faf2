package gemm

// tile is what a micro-kernel computes: rows × nr elements of C at c, from rows of a and k rows of b. Strides are in bytes. The
// kernels of internal/asmgen know the offsets of the fields.
type tile struct {
	a          *float32 // rows, each contiguous in k
	lda        uintptr
	b          *float32
	ldb        uintptr
	c          *float32
	ldc        uintptr
	k          uintptr
	accumulate uintptr // 1: the chains begin with what c holds, 0: with zero
	// What is done after the last k; nil for nothing.
	scale   *float32 // nr multipliers
	bias    *float32 // nr addends
	rowBias *float32 // rows addends
}

// isa is a set of micro-kernels.
type isa struct {
	name   string
	mr, nr int
	run    func(rows int, t *tile) // 1 <= rows <= mr
	*converters
}

// converters are faster forms of what convert.go does, with the same bits. nil where there are none.
type converters struct {
	transpose     func(dst *float32, ldd int, src *float32, lds int, n int) // 8 rows of n; strides in bytes, n a multiple of 8
	decodeE4M3FN  func(dst *float32, src *byte, n int, scale float32)       // n a multiple of 16
	widenFloat16  func(dst *float32, src *uint16, n int)                    // n a multiple of 8
	narrowFloat16 func(dst *uint16, src *float32, n int)                    // n a multiple of 8
}

// kc is how many k a kernel takes at a time: a panel's piece of kc × nr floats stays in the first cache while rows pass over it.
const kc = 256

// maxTile bounds mr·nr and maxWidth nr.
const (
	maxTile  = 12 * 32
	maxWidth = 32
)

var plain = &isa{"plain", 4, 8, runPlain, nil}
