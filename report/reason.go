package report

// RuleCode names the rule that rewrote a layer.
type RuleCode string

// ReasonCode names the reason for which a layer was kept as it was.
type ReasonCode string

// Reason is why a layer was kept: a stable code, and the sentence that says it of this layer.
type Reason struct {
	Code     ReasonCode `json:"code" class:"exact"`
	Sentence string     `json:"sentence" class:"exact"`
}

// The rules. Their order is the order of totals and docs.
const (
	RuleMatMul     RuleCode = "matmul"
	RuleMatMulLeft RuleCode = "matmul-left"
	RuleGemm       RuleCode = "gemm"
	RuleQDQ        RuleCode = "qdq"
	RuleLinear     RuleCode = "linear"
	RuleConv1D     RuleCode = "conv1d"
	RuleExperts    RuleCode = "experts"
	RuleRestore    RuleCode = "restore"
)

// The reasons. Their order is the order of totals and docs. A code that was ever written is never removed or given another
// meaning.
const (
	ReasonNoConstantOperand       ReasonCode = "no-constant-operand"
	ReasonBothConstant            ReasonCode = "both-constant"
	ReasonWeightUnresolved        ReasonCode = "weight-unresolved"
	ReasonWeightOverridable       ReasonCode = "weight-overridable"
	ReasonWeightRank              ReasonCode = "weight-rank"
	ReasonWeightBatched           ReasonCode = "weight-batched"
	ReasonWeightDType             ReasonCode = "weight-dtype"
	ReasonWeightEmpty             ReasonCode = "weight-empty"
	ReasonWeightNonfinite         ReasonCode = "weight-nonfinite"
	ReasonWeightQuantized         ReasonCode = "weight-quantized"
	ReasonWeightSparse            ReasonCode = "weight-sparse"
	ReasonLeftConstantBatched     ReasonCode = "left-constant-batched"
	ReasonLeftConstantOuter       ReasonCode = "left-constant-outer"
	ReasonLeftConstantRankUnknown ReasonCode = "left-constant-rank-unknown"
	ReasonGemmInputRank           ReasonCode = "gemm-input-rank"
	ReasonInputDType              ReasonCode = "input-dtype"
	ReasonExcluded                ReasonCode = "excluded"
	ReasonNotIncluded             ReasonCode = "not-included"
	ReasonDimNotMultiple          ReasonCode = "dim-not-multiple"
	ReasonDimTooSmall             ReasonCode = "dim-too-small"
	ReasonAlreadyFloat8           ReasonCode = "already-float8"
	ReasonInFunction              ReasonCode = "in-function"
	ReasonNameRepeated            ReasonCode = "name-repeated"
	ReasonOpsetUnsupported        ReasonCode = "opset-unsupported"
	ReasonModelInvalid            ReasonCode = "model-invalid"
	ReasonNotConverted            ReasonCode = "not-converted"
	ReasonNotALayer               ReasonCode = "not-a-layer"
	ReasonLayerRole               ReasonCode = "layer-role"
	ReasonWeightTied              ReasonCode = "weight-tied"
	ReasonLoaderRefuses           ReasonCode = "loader-refuses"
	ReasonGroupKept               ReasonCode = "group-kept"
)

// Rules lists every rule in order; the template is what the rule rewrites.
func Rules() []CodeInfo[RuleCode] {
	return []CodeInfo[RuleCode]{
		{RuleMatMul, "MatMul(x, W) with a constant matrix W on the right"},
		{RuleMatMulLeft, "MatMul(W, x) with a constant matrix W on the left, as the linear layer of the transposed x"},
		{RuleGemm, "Gemm(x, W, c) with a constant matrix W, whatever transA, transB, alpha and beta are"},
		{RuleQDQ, "a calibrated Float8Linear, lowered to QuantizeLinear and DequantizeLinear around the original operator"},
		{RuleLinear, "a linear layer of a checkpoint, whose weight is stored as [N, K]"},
		{RuleConv1D, "a Conv1D of a checkpoint, a linear layer whose weight is stored as [K, N]"},
		{RuleExperts, "an expert of a checkpoint that stacks its experts in one tensor, or the stack"},
		{RuleRestore, "a float8 weight, back to full precision"},
	}
}

// Reasons lists every reason in order, with the template of its sentence.
func Reasons() []CodeInfo[ReasonCode] {
	return []CodeInfo[ReasonCode]{
		{ReasonNoConstantOperand, "no operand is a constant"},
		{ReasonBothConstant, "both operands are constants, so there is no activation to cast"},
		{ReasonWeightUnresolved, "the operand {operand} comes from a constant through the operator {op}, which is not folded"},
		{ReasonWeightOverridable, "the weight {weight} is also a graph input, so a caller can replace it at run time; " +
			"--assume-constant takes it for a constant"},
		{ReasonWeightRank, "the weight {weight} has rank {rank}, and a linear layer needs a matrix"},
		{ReasonWeightBatched, "the weight {weight} has shape {shape}: a batch of matrices is not one linear layer"},
		{ReasonWeightDType, "the weight {weight} is {dtype}, not float32, float16 or bfloat16"},
		{ReasonWeightEmpty, "the weight {weight} has shape {shape} and so no elements"},
		{ReasonWeightNonfinite, "the weight {weight} holds elements that are NaN or infinite: {count}"},
		{ReasonWeightQuantized, "the weight {weight} is already quantized as {dtype}"},
		{ReasonWeightSparse, "the weight {weight} is a sparse tensor"},
		{ReasonLeftConstantBatched, "the constant {weight} on the left is multiplied into the matrices of a batch of rank {rank}, " +
			"as in a rotary embedding; that is not a linear layer over the last axis"},
		{ReasonLeftConstantOuter, "the constant {weight} on the left has shape {shape}: an outer product sums nothing, as in a rotary embedding"},
		{ReasonLeftConstantRankUnknown, "the constant {weight} is on the left, and the rank of the right operand {operand} is not known"},
		{ReasonGemmInputRank, "the input {operand} of the Gemm has rank {rank}, want 2"},
		{ReasonInputDType, "the input {operand} is {dtype}, not float32, float16 or bfloat16"},
		{ReasonExcluded, "the layer matches the exclude pattern {pattern}"},
		{ReasonNotIncluded, "the layer matches no include pattern"},
		{ReasonDimNotMultiple, "the dimensions {shape} are not all multiples of {multiple}"},
		{ReasonDimTooSmall, "the dimensions {shape} are not all at least {minimum}"},
		{ReasonAlreadyFloat8, "the layer is a Float8Linear already"},
		{ReasonInFunction, "the layer lies in the function {function}, which cannot be inlined: {why}"},
		{ReasonNameRepeated, "the value name {name} is assigned more than once, so the graph is not in single-assignment form"},
		{ReasonOpsetUnsupported, "the model's opset {opset} cannot be lifted to {target}, which the float8 Cast needs: {why}"},
		{ReasonModelInvalid, "the node is not valid: {why}"},
		{ReasonNotConverted, "the layer was not made a Float8Linear when the model was converted, and only those are lowered"},
		{ReasonNotALayer, "the tensor {tensor} is no matrix that is called like the weight of a linear layer"},
		{ReasonLayerRole, "the layer is {role}, which stays as it is unless --include names it"},
		{ReasonWeightTied, "the weight {weight} repeats {other}, and the two are one"},
		{ReasonLoaderRefuses, "a loader of the layout {layout} would not read the layer: {why}"},
		{ReasonGroupKept, "engines join the layer with {other}, which is kept, and want all of them or none in float8"},
	}
}

// Because is the reason with the given code; args fill the placeholders of its sentence in order (see Fill).
func Because(code ReasonCode, args ...any) *Reason {
	return &Reason{Code: code, Sentence: sentence(Reasons(), code, args)}
}
