package layout

import (
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// float8Linear has the state of float8_experimental's Float8Linear under that library's names (float8_linear.py, create_buffers), beside a weight
// that is stored as float8. Its scales are multipliers into float8, and its histories hold one window of amaxes, newest first.
type float8Linear struct{}

// HistoryLen is the length of the histories that float8-linear stores, the library's default.
const HistoryLen = 16

// MetadataLayout is the key of a file's metadata that names the layout, where nothing else in the file does.
const MetadataLayout = "ai.fp8rewrite.layout"

const (
	maxE4M3 = 448
	maxE5M2 = 57344
)

func (float8Linear) Name() string { return "float8-linear" }

func (float8Linear) Settle(r Request) (Scheme, error) {
	g, err := pick("float8-linear", r.Weights, PerTensor)
	return Scheme{Weights: g, Static: r.Inputs}, err
}

func (float8Linear) Stacks() bool { return true }

// Shares is false: the library scales every layer by itself.
func (float8Linear) Shares() bool { return false }

func (float8Linear) Refuse(l Linear, _ Scheme, _ int64) string { return "" }

func (float8Linear) Beside(l Linear, _ Scheme, v Values) []safetensors.Tensor {
	one := tensor.Shape{1}
	var out []safetensors.Tensor
	operand := func(name string, amax, scale, newest float32) {
		history := make([]float32, HistoryLen)
		history[0] = newest
		out = append(out, list(l.Module+".fp8_amax_"+name, one, []float32{amax}),
			list(l.Module+".fp8_amax_history_"+name, tensor.Shape{HistoryLen}, history),
			list(l.Module+".fp8_scale_"+name, one, []float32{scale}))
	}
	if v.Input > 0 {
		operand("input", v.Input, maxE4M3/v.Input, v.Input)
	} else {
		operand("input", maxE4M3, 1, 0)
	}
	operand("weight", v.Amax, v.Quant, v.Amax)
	operand("grad_output", maxE5M2, 1, 0)
	return out
}

func (float8Linear) Edits(f Folder, s Scheme) (Edits, error) {
	if len(f.Quantized) == 0 {
		return Edits{}, nil
	}
	// No loader knows this method by name. It stands there to tell readers, and restore, that the codes are not the weights.
	return Edits{Metadata: map[string]string{MetadataLayout: "float8-linear"}, Config: struct {
		Method string `json:"quant_method"`
	}{"float8-linear"}}, nil
}
