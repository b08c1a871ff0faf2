package shape

// newRules are the operators of ONNX's own domain that Infer follows.
func newRules() map[string]func(*call) {
	t := map[string]func(*call){
		"Identity": identity, "Dropout": dropout, "Cast": cast, "CastLike": castLike, "IsNaN": test, "IsInf": test, "Neg": neg,
		"BatchNormalization": batchNormalization, "LayerNormalization": layerNormalization,
		"Where": where, "Constant": constantNode, "ConstantOfShape": constantOfShape, "EyeLike": eyeLike,
		"RandomNormalLike": eyeLike, "RandomUniformLike": eyeLike, "Bernoulli": eyeLike, "Range": rangeOf,
		"Shape": shapeOf, "Size": sizeOf,

		"MatMul": matMul, "MatMulInteger": matMulInteger, "QLinearMatMul": qLinearMatMul, "Gemm": gemm, "Einsum": einsum,
		"Attention": attention, "RNN": recurrent, "LSTM": recurrent, "GRU": recurrent,

		"Conv": conv, "ConvInteger": convInteger, "QLinearConv": qLinearConv, "ConvTranspose": convTranspose,
		"MaxPool": pool, "AveragePool": pool, "LpPool": pool,
		"GlobalAveragePool": globalPool, "GlobalMaxPool": globalPool, "GlobalLpPool": globalPool,
		"Resize": resize, "Upsample": resize, "DepthToSpace": depthToSpace, "SpaceToDepth": spaceToDepth, "GridSample": gridSample,

		"Reshape": reshape, "Flatten": flatten, "Transpose": transpose, "Squeeze": squeeze, "Unsqueeze": unsqueeze,
		"Expand": expand, "Concat": concat, "Split": split, "Tile": tile, "Pad": pad,

		"Slice": slice, "Gather": gather, "GatherElements": gatherElements, "GatherND": gatherND, "TopK": topK,
		"OneHot": oneHot, "NonZero": nonZero, "NonMaxSuppression": nonMaxSuppression, "ArgMax": argReduce, "ArgMin": argReduce,

		"QuantizeLinear": quantizeLinear, "DequantizeLinear": dequantizeLinear, "DynamicQuantizeLinear": dynamicQuantizeLinear,

		"If": ifNode, "Loop": loop, "Scan": scan,
	}
	for _, op := range []string{"Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Clip", "Cos",
		"Cosh", "CumSum", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax",
		"InstanceNormalization", "LRN", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Mish",
		"Not", "PRelu", "RMSNormalization", "Reciprocal", "Relu", "ReverseSequence", "RotaryEmbedding", "Round",
		"Scatter", "ScatterElements", "ScatterND", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus",
		"Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Trilu"} {
		t[op] = unary
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Mod", "Pow", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
		"Sum", "Max", "Min", "Mean"} {
		t[op] = arithmetic
	}
	for _, op := range []string{"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"} {
		t[op] = comparison
	}
	for _, op := range []string{"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin",
		"ReduceProd", "ReduceSum", "ReduceSumSquare"} {
		t[op] = reduce
	}
	return t
}
