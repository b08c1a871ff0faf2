package layout

import (
	"bytes"
	"encoding/json"

	"github.com/fp8rewrite/fp8rewrite/safetensors"
)

// comfy is ComfyUI's scaled fp8: a scalar beside each weight, and a list of the float8 layers in the metadata of the file.
type comfy struct{}

func (comfy) Name() string { return "comfy" }

func (comfy) Settle(r Request) (Scheme, error) {
	g, err := pick("comfy", r.Weights, PerTensor)
	return Scheme{Weights: g, Static: r.Inputs}, err
}

func (comfy) Stacks() bool { return false }

// Shares is false: ComfyUI computes every layer by itself.
func (comfy) Shares() bool { return false }

func (comfy) Refuse(l Linear, _ Scheme, _ int64) string { return conv1D(l) }

func (comfy) Beside(l Linear, s Scheme, v Values) []safetensors.Tensor {
	out := []safetensors.Tensor{scalar(l.Module+".weight_scale", first(v.Dequant))}
	if s.Static {
		out = append(out, scalar(l.Module+".input_scale", inputScale(v)))
	}
	return out
}

// Edits lists the layers; written by hand, since the layers stand in the order of the checkpoint.
func (comfy) Edits(f Folder, _ Scheme) (Edits, error) {
	if len(f.Quantized) == 0 {
		return Edits{}, nil
	}
	var b bytes.Buffer
	b.WriteString(`{"format_version":"1.0","layers":{`)
	for i, name := range f.Quantized {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return Edits{}, err
		}
		b.Write(key)
		b.WriteString(`:{"format":"float8_e4m3fn"}`)
	}
	b.WriteString(`}}`)
	// ComfyUI does not look at config.json. What does is told that the codes are not the weights.
	return Edits{Metadata: map[string]string{"_quantization_metadata": b.String()}, Config: struct {
		Method string `json:"quant_method"`
	}{"comfy"}}, nil
}
