package opset

// early are the operators that ONNX Runtime puts into ONNX's own domain from version 1 on, before ONNX had them or without ONNX
// having them, and that runtimes meet in real files. From the version in born on they are ONNX's own, with the same meaning.
var early = map[string]bool{
	"LayerNormalization":           true,
	"SimplifiedLayerNormalization": true, // ONNX calls it RMSNormalization
	"ThresholdedRelu":              true, // an experiment of ONNX's first versions
}

// gone are the operators that another one replaced, and the version that did it: a node that still claims one has no meaning.
// (GroupNormalization 18 is deprecated too, but runtimes have it until 21 gives it another meaning.)
var gone = map[string]int64{"Upsample": 10, "Scatter": 11}
