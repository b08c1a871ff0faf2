package ops

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
)

// The attributes of a node. All have defaults in the function, so a node may leave them out. Only quant_max is read by a body; the
// others say what the layer was before.
const (
	AttrOriginalOp     = "original_op"     // string: MatMul or Gemm
	AttrTransA         = "trans_a"         // int: Gemm's transA
	AttrTransB         = "trans_b"         // int: Gemm's transB
	AttrAlpha          = "alpha"           // float: Gemm's alpha
	AttrBeta           = "beta"            // float: Gemm's beta
	AttrConstantLeft   = "constant_left"   // int: 1 where the weight was the first operand
	AttrOriginalWeight = "original_weight" // string: the name that the weight had
	AttrQuantMax       = "quant_max"       // float: the value that an amax is scaled to, 448 / 2^margin
)

// Original is the operator that a Float8Linear stands for, as far as the node does not show it otherwise. Whatever these
// arguments did to the values (a transposed activation, alpha) is done by the nodes around the Float8Linear.
type Original struct {
	Op             string // MatMul or Gemm
	TransA, TransB bool
	Alpha, Beta    float32
	ConstantLeft   bool
	Weight         string // "" when not known
}

// MatMul is the Original of a MatMul with its weight on the right.
func MatMul(weight string) Original {
	return Original{Op: "MatMul", Alpha: 1, Beta: 1, Weight: weight}
}

// QuantMax is the value that an amax is scaled to under a margin: 448 / 2^margin, the largest finite float8e4m3fn first.
func QuantMax(margin int) float32 {
	return float32(math.Ldexp(float64(float8.E4M3FNFormat.Max()), -margin))
}

func (o Original) attributes() []*graph.Attribute {
	return []*graph.Attribute{
		graph.Str(AttrOriginalOp, o.Op),
		graph.Int(AttrTransA, bit(o.TransA)),
		graph.Int(AttrTransB, bit(o.TransB)),
		graph.Float(AttrAlpha, o.Alpha),
		graph.Float(AttrBeta, o.Beta),
		graph.Int(AttrConstantLeft, bit(o.ConstantLeft)),
		graph.Str(AttrOriginalWeight, o.Weight),
	}
}

// defaults are the attributes that a function declares. The formal list keeps a strict checker content; names without a default
// would make a node that leaves quant_max out invalid.
func defaults() []*graph.Attribute {
	return append(MatMul("").attributes(), graph.Float(AttrQuantMax, QuantMax(0)))
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// readOriginal reads the attributes of n; those that n leaves out have the function's defaults.
func readOriginal(n *graph.Node) (Original, float32, error) {
	for _, d := range defaults() {
		if a := n.Attr(d.Name); a != nil && (a.Kind != d.Kind || a.Ref != "") {
			return Original{}, 0, fmt.Errorf("attribute %q: kind %d, want a value of kind %d", a.Name, a.Kind, d.Kind)
		}
	}
	o := Original{
		Op:           n.AttrString(AttrOriginalOp, "MatMul"),
		TransA:       n.AttrInt(AttrTransA, 0) != 0,
		TransB:       n.AttrInt(AttrTransB, 0) != 0,
		Alpha:        n.AttrFloat(AttrAlpha, 1),
		Beta:         n.AttrFloat(AttrBeta, 1),
		ConstantLeft: n.AttrInt(AttrConstantLeft, 0) != 0,
		Weight:       n.AttrString(AttrOriginalWeight, ""),
	}
	if o.Op != "MatMul" && o.Op != "Gemm" {
		return Original{}, 0, fmt.Errorf("attribute %q: got %q, want \"MatMul\" or \"Gemm\"", AttrOriginalOp, o.Op)
	}
	q := n.AttrFloat(AttrQuantMax, QuantMax(0))
	if !(q > 0 && q <= QuantMax(0)) { // false for NaN too
		return Original{}, 0, fmt.Errorf("attribute %q: got %v, want above 0 and at most %v", AttrQuantMax, q, QuantMax(0))
	}
	return o, q, nil
}
