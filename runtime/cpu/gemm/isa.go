package gemm

// tile is what a micro-kernel computes: rows × nr elements of C at c, from rows of a and k rows of nr floats of b. Strides are in bytes. The
// kernels of internal/asmgen know the offsets of the fields.
type tile struct {
	a          *float32 // rows, each contiguous in k
	lda        uintptr
	b          *float32
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
}

// kc is how many k a kernel takes at a time: a panel's piece of kc × nr floats stays in the first cache while rows pass over it.
const kc = 256

// maxTile bounds mr·nr and maxWidth nr.
const (
	maxTile  = 12 * 32
	maxWidth = 32
)

var plain = &isa{"plain", 4, 8, runPlain}
