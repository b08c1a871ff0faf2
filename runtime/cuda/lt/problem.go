package lt

import (
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Type is an element type.
type Type uint8

// The element types. None is that of a bias which is not there.
const (
	None Type = iota
	E4M3
	E5M2
	BF16
	F16
	F32
)

var typeNames = [...]string{"none", "e4m3", "e5m2", "bfloat16", "float16", "float32"}

// String is the type's name, such as "e4m3".
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// Size is the bytes of an element.
func (t Type) Size() int {
	switch t {
	case E4M3, E5M2:
		return 1
	case BF16, F16:
		return 2
	case F32:
		return 4
	}
	return 0
}

// Float8 says whether t is one of the 8-bit types.
func (t Type) Float8() bool { return t == E4M3 || t == E5M2 }

// Activation is what is done to each element of the output last.
type Activation uint8

// The activations. GELU is the approximation with tanh.
const (
	Identity Activation = iota
	ReLU
	GELU
)

// String is the activation's name.
func (a Activation) String() string {
	switch a {
	case Identity:
		return "identity"
	case ReLU:
		return "relu"
	case GELU:
		return "gelu"
	}
	return fmt.Sprintf("Activation(%d)", uint8(a))
}

// Problem is a product as far as it decides how it is computed. Two that are equal share a plan.
type Problem struct {
	M, N, K int // y[M,N] = x[M,K] · w[N,K]ᵀ

	X, W, Y Type

	// KN says that w lies as [K,N]. Float8 has no such layout.
	KN bool

	// Fast lets float8 products be summed in the tensor cores' own accumulators without promotion: faster, and less exact. The other
	// types ignore it.
	Fast bool

	// Rows says that scaleX is a vector [M], Channels that scaleW is one [N]; otherwise they are scalars. Float8 only. See Plan.MultiplyX.
	Rows, Channels bool

	Bias       Type // None, or see BiasType
	Activation Activation

	// Batch is the number of products, 0 meaning 1; the matrices of each lie XStride, WStride and YStride elements after those of
	// the one before (0: the same matrix again).
	Batch                     int
	XStride, WStride, YStride int64
}

// BiasType is the type that a bias of a product with outputs of type y has: y itself, but bfloat16 in float8 products with float8 or
// float32 outputs.
func (p Problem) BiasType() Type {
	if p.X.Float8() && (p.Y == F32 || p.Y.Float8()) {
		return BF16
	}
	return p.Y
}

// String is the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Batch > 1 {
		fmt.Fprintf(&b, "%d × ", p.Batch)
	}
	fmt.Fprintf(&b, "%v[%d,%d] · %v", p.X, p.M, p.K, p.W)
	if p.KN {
		fmt.Fprintf(&b, "[%d,%d]", p.K, p.N)
	} else {
		fmt.Fprintf(&b, "[%d,%d]ᵀ", p.N, p.K)
	}
	fmt.Fprintf(&b, " → %v", p.Y)
	if p.Bias != None {
		b.WriteString(" + bias")
	}
	if p.Activation != Identity {
		fmt.Fprintf(&b, ", %v", p.Activation)
	}
	return b.String()
}

// alignment is that of addresses in bytes, of every operand, and of rows where float8 is multiplied, as seen on Hopper: K a multiple of 16,
// and N one that makes rows of y multiples of 16 bytes.
const alignment = 16

// Why says why a float8 product cannot be computed on a card, "" where it can: the reason for which a layer stays in bfloat16. It is what
// is known beforehand; [Handle.Plan] has the library's own word.
func Why(card driver.Info, p Problem) string {
	if card.Major < 8 || card.Major == 8 && card.Minor < 9 {
		return fmt.Sprintf("%s has compute capability %d.%d, float8 needs 8.9", card.Name, card.Major, card.Minor)
	}
	if why := p.invalid(); why != "" {
		return why
	}
	switch {
	case !p.X.Float8() || !p.W.Float8():
		return fmt.Sprintf("%v with %v is no float8 product", p.X, p.W)
	case p.X == E5M2 && p.W == E5M2:
		return "cuBLASLt has no product of e5m2 with e5m2"
	case p.KN:
		return "cuBLASLt has float8 products only with K contiguous in both matrices"
	case p.K%alignment != 0:
		return fmt.Sprintf("K is %d, cuBLASLt wants a multiple of %d", p.K, alignment)
	case p.N%granule(p.Y) != 0:
		return fmt.Sprintf("N is %d, cuBLASLt wants a multiple of %d for %v outputs", p.N, granule(p.Y), p.Y)
	}
	return ""
}

// granule is how many elements of type y make a row aligned.
func granule(y Type) int { return alignment / y.Size() }

// Pad is p with the smallest K and N that are large enough and that [Why] accepts. Padding in K must be zeros in x and w; what stands in
// the padding of N is ignored with its outputs.
func Pad(p Problem) Problem {
	p.K = (p.K + alignment - 1) / alignment * alignment
	g := granule(p.Y)
	p.N = (p.N + g - 1) / g * g
	return p
}

// invalid says what makes p no problem at all.
func (p Problem) invalid() string {
	switch {
	case p.M <= 0 || p.N <= 0 || p.K <= 0:
		return fmt.Sprintf("M %d, N %d, K %d: want at least 1 each", p.M, p.N, p.K)
	case p.X.Size() == 0 || p.W.Size() == 0 || p.Y.Size() == 0:
		return fmt.Sprintf("element types %v, %v, %v", p.X, p.W, p.Y)
	case p.X.Float8() != p.W.Float8() || !p.X.Float8() && p.X != p.W:
		return fmt.Sprintf("cuBLASLt has no product of %v with %v", p.X, p.W)
	case p.Y.Float8() && (!p.X.Float8() || p.Y != E4M3 && p.X == E4M3 && p.W == E4M3):
		return fmt.Sprintf("cuBLASLt has no %v output of %v with %v", p.Y, p.X, p.W)
	case !p.Y.Float8() && p.Y != F32 && !p.X.Float8() && p.Y != p.X:
		return fmt.Sprintf("cuBLASLt has no %v output of %v with %v", p.Y, p.X, p.W)
	case (p.Rows || p.Channels) && !p.X.Float8():
		return "scales belong to float8 products"
	case p.Bias != None && p.Bias != p.BiasType():
		return fmt.Sprintf("bias of %v, want %v", p.Bias, p.BiasType())
	case p.Activation > GELU:
		return fmt.Sprintf("activation %v", p.Activation)
	case p.Batch < 0 || p.XStride < 0 || p.WStride < 0 || p.YStride < 0:
		return fmt.Sprintf("batch %d with strides %d, %d, %d", p.Batch, p.XStride, p.WStride, p.YStride)
	case p.Batch > 1 && p.YStride < int64(p.M)*int64(p.N):
		return fmt.Sprintf("outputs of %d elements lie %d apart", int64(p.M)*int64(p.N), p.YStride)
	}
	return ""
}

// FLOPs is the number of floating-point operations: 2·M·N·K for each of the batch.
func (p Problem) FLOPs() float64 {
	return 2 * float64(p.M) * float64(p.N) * float64(p.K) * float64(max(p.Batch, 1))
}
