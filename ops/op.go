package ops

import (
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// Domain and Version are the operator set that Float8Linear belongs to, under whichever variant's name it is called.
const (
	Domain        = "ai.fp8rewrite"
	Version int64 = 1
)

// MetadataRecipe is the key of a converted model's metadata that holds the recipe, in the spelling of scaling.Recipe.
const MetadataRecipe = Domain + ".recipe"

// A model that holds a body imports ONNX's own operators at MinOpset or later, where Cast first knows float8 (the main graph's
// import counts, not the function's), and has at least MinIRVersion, where tensors of float8 and attributes with defaults appear.
const (
	MinOpset     int64 = 19
	MinIRVersion int64 = 9
)

// The inputs, by position. T is float32, float16 or bfloat16; K is the length of a row, N the number of output channels, H that of
// the amaxes kept.
const (
	InInput                 = iota // T […, K]: the activation
	InWeight                       // float8e4m3fn [N, K]; T [N, K] in the variants that keep the original weight
	InScaleInput                   // float32 scalar: q = saturate(input · scale)
	InScaleWeight                  // float32 scalar, or [N] for a scale per output channel
	InAmaxHistoryInput             // float32 [H], newest first
	InAmaxHistoryWeight            // float32 [H], newest first
	InScaleGradOutput              // float32 scalar: the scale of dL/dY in float8e5m2
	InAmaxHistoryGradOutput        // float32 [H], newest first
	InInitialized                  // bool scalar: whether the histories hold an observation
	NumInputs
)

// The outputs, by position. A node names both: onnx's shape inference refuses a node that leaves the second out, and ONNX Runtime
// 1.21 ends the process.
const (
	OutOutput    = iota // T […, N]
	OutAmaxInput        // float32 scalar: max|input| of this run, NaN where an element is
	NumOutputs
)

var inputNames = [NumInputs]string{
	"input", "weight", "scale_input", "scale_weight", "amax_history_input", "amax_history_weight",
	"scale_grad_output", "amax_history_grad_output", "initialized",
}

var outputNames = [NumOutputs]string{"output", "amax_input"}

// OutputName is the formal name of the output at index i of the constants above.
func OutputName(i int) string { return outputNames[i] }

// statePrefix stands between a layer's name and the name of the input that the initializer feeds.
const statePrefix = ".fp8_"

// StateName is the name of the initializer that feeds input i (InWeight to InInitialized) of a layer, such as
// "model.layers.0.self_attn.q_proj.fp8_amax_history_input", so that a reader of the file knows whose it is.
func StateName(layer string, i int) string { return layer + statePrefix + inputNames[i] }

// ParseStateName takes a name made by StateName apart. A name that graph.Names had to make unique ("….fp8_weight_2") is not one.
func ParseStateName(name string) (layer string, i int, ok bool) {
	at := strings.LastIndex(name, statePrefix)
	if at < 0 {
		return "", 0, false
	}
	for i := InWeight; i < NumInputs; i++ {
		if name[at+len(statePrefix):] == inputNames[i] {
			return name[:at], i, true
		}
	}
	return "", 0, false
}

// IsFloat8Linear reports whether n calls the operator in one of its variants.
func IsFloat8Linear(n *graph.Node) bool {
	if n.Domain != Domain {
		return false
	}
	_, ok := ParseVariant(n.OpType)
	return ok
}
