package report

import "math"

// Decision is what was done with a layer.
type Decision string

// The two decisions.
const (
	Rewritten Decision = "rewritten"
	Kept      Decision = "kept"
)

// Layer is the decision about one MatMul, Gemm or Float8Linear, and what it did to the weight.
type Layer struct {
	// Name is the layer's name: from node metadata, else from the weight, else from the node.
	Name string `json:"name" class:"exact"`
	Node string `json:"node" class:"exact"` // the node's own name in the input model; may be empty
	Op   string `json:"op" class:"exact"`   // "MatMul", "Gemm" or "Float8Linear"
	// Graph is the path of the subgraph or function that holds the node: "" for the main graph, "If_3/then_branch" for a branch.
	Graph    string   `json:"graph" class:"exact"`
	Decision Decision `json:"decision" class:"exact"`
	Rule     RuleCode `json:"rule" class:"exact"` // "" for a kept layer
	Reason   *Reason  `json:"reason"`             // nil for a rewritten layer
	Weight   string   `json:"weight" class:"exact"`
	// WeightXXH64 is the 64-bit xxHash, 16 hex digits, of the weight's bytes as the output holds them: the float8 codes in row-major
	// [N,K], or the original bytes under --weights original. "" for a kept layer. It recognizes a renamed layer.
	WeightXXH64 string `json:"weight_xxh64" class:"exact"`
	// SharedWith is the name of the first layer in graph order that uses the same weight, where this one is not the first. Totals
	// skip such a layer's elements and bytes, so that a shared weight counts once.
	SharedWith string `json:"shared_with" class:"exact"`
	// Shape is [N,K] for a rewritten layer, the dimensions of the constant operand as stored for a kept one; empty if there is none.
	Shape        []int64 `json:"shape" class:"exact"`
	DTypeBefore  string  `json:"dtype_before" class:"exact"`  // element type of the weight in the input model; "" if there is none
	DTypeAfter   string  `json:"dtype_after" class:"exact"`   // and in the output model
	InputScaling string  `json:"input_scaling" class:"exact"` // "delayed", "dynamic" or "off"; "" for a kept layer
	// Amax is max|w| over the whole weight; nil where it was not measured. It is not finite if an element is not.
	Amax *Float32 `json:"amax" class:"tolerant"`
	// QuantScale is the quantization multiplier of the weight, q = sat(w · scale); nil for a kept layer.
	QuantScale *QuantScale `json:"quant_scale"`
	// WeightSQNRdB is 10·log10(Σw² / Σ(w−ŵ)²) of the float8 weight ŵ; nil where it was not measured or is infinite. SetWeightSQNR
	// fills it in.
	WeightSQNRdB *Float64 `json:"weight_sqnr_db" class:"tolerant"`
	// WeightExact says that the float8 weight equals the original in every element, so that its SQNR is infinite.
	WeightExact bool `json:"weight_exact" class:"exact"`
	// Saturated counts elements beyond the largest finite float8 after scaling, Flushed those not zero that became zero.
	Saturated int64 `json:"saturated" class:"exact"`
	Flushed   int64 `json:"flushed" class:"exact"`
	Elements  int64 `json:"elements" class:"exact"` // of the weight
	// BytesBefore is the size of the weight in the input; BytesAfter its size in the output, the original included where another
	// node still reads it. Scales and histories are left out.
	BytesBefore int64 `json:"bytes_before" class:"exact"`
	BytesAfter  int64 `json:"bytes_after" class:"exact"`
}

// SetWeightSQNR records a weight's signal-to-quantization-noise ratio in dB: +Inf means exact, NaN that it is not known.
func (l *Layer) SetWeightSQNR(db float64) {
	l.WeightExact = math.IsInf(db, 1)
	l.WeightSQNRdB = nil
	if !l.WeightExact && !math.IsNaN(db) {
		l.WeightSQNRdB = new(Float64(db))
	}
}

// SetAmax records max|w| of the weight.
func (l *Layer) SetAmax(amax float32) { l.Amax = new(Float32(amax)) }

// QuantScale describes the quantization multipliers of one weight.
type QuantScale struct {
	Granularity Granularity `json:"granularity" class:"exact"`
	Count       int64       `json:"count" class:"exact"`  // 1, or N for a weight per output channel
	Min         Float32     `json:"min" class:"tolerant"` // the least and the greatest of them
	Max         Float32     `json:"max" class:"tolerant"`
}

// Granularity says what part of a weight one scale covers.
type Granularity string

// The granularities.
const (
	PerTensor  Granularity = "per-tensor"
	PerChannel Granularity = "per-channel" // per output channel: a row of [N,K]
	PerBlock   Granularity = "per-block"   // per block of 128×128
)

// NewQuantScale describes one multiplier for a whole weight, or with perChannel one for each of its rows. It returns nil for no
// scales.
func NewQuantScale(scales []float32, perChannel bool) *QuantScale {
	if len(scales) == 0 {
		return nil
	}
	q := &QuantScale{Granularity: PerTensor, Count: int64(len(scales)), Min: Float32(scales[0]), Max: Float32(scales[0])}
	if perChannel {
		q.Granularity = PerChannel
	}
	for _, s := range scales[1:] {
		q.Min, q.Max = min(q.Min, Float32(s)), max(q.Max, Float32(s))
	}
	return q
}
