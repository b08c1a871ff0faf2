package nn

import "github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"

// Table is the package's operators.
func Table() kernel.Table {
	return kernel.Table{
		"Conv":          makeConv,
		"ConvInteger":   makeConvInteger,
		"ConvTranspose": makeConvTranspose,
		"DeformConv":    makeDeformConv,
		"QLinearConv":   makeQLinearConv,

		"AveragePool":       makeAveragePool,
		"GlobalAveragePool": makeGlobalAveragePool,
		"GlobalLpPool":      makeGlobalLpPool,
		"GlobalMaxPool":     makeGlobalMaxPool,
		"LpPool":            makeLpPool,
		"MaxPool":           makeMaxPool,
		"MaxUnpool":         makeMaxUnpool,

		"BatchNormalization":    makeBatchNormalization,
		"GroupNormalization":    makeGroupNormalization,
		"InstanceNormalization": makeInstanceNormalization,
		"LRN":                   makeLRN,
		"LayerNormalization":    makeLayerNormalization,
		"RMSNormalization":      makeRMSNormalization,

		"GRU":  makeGRU,
		"LSTM": makeLSTM,
		"RNN":  makeRNN,

		"Attention":           makeAttention,
		"CausalConvWithState": makeCausalConvWithState,
		"LinearAttention":     makeLinearAttention,
		"RotaryEmbedding":     makeRotaryEmbedding,

		"ai.onnx.preview.FlexAttention": makeFlexAttention,

		"com.microsoft.Attention":                        makeContribAttention,
		"com.microsoft.EmbedLayerNormalization":          makeEmbedLayerNormalization,
		"com.microsoft.FusedMatMul":                      makeFusedMatMul,
		"com.microsoft.MultiHeadAttention":               makeMultiHeadAttention,
		"com.microsoft.QLinearAdd":                       makeQLinearAdd,
		"com.microsoft.QLinearAveragePool":               makeQLinearAveragePool,
		"com.microsoft.QLinearSoftmax":                   makeQLinearSoftmax,
		"com.microsoft.SkipLayerNormalization":           makeSkipLayerNormalization(false),
		"com.microsoft.SkipSimplifiedLayerNormalization": makeSkipLayerNormalization(true),

		"NegativeLogLikelihoodLoss": makeNegativeLogLikelihoodLoss,
		"SoftmaxCrossEntropyLoss":   makeSoftmaxCrossEntropyLoss,
	}
}
