package layout

import (
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// compressedTensors is the format of the compressed-tensors package, which llm-compressor writes and vLLM, SGLang, TensorRT-LLM and transformers
// read. The group is called group_0, the name that older loaders have fixed.
type compressedTensors struct{}

func (compressedTensors) Name() string { return "compressed-tensors" }

func (compressedTensors) Settle(r Request) (Scheme, error) {
	if err := needsFolder("compressed-tensors", r); err != nil {
		return Scheme{}, err
	}
	have := []Granularity{PerChannel, PerTensor, PerBlock}
	if r.Inputs { // static scales go with scales per tensor
		have = []Granularity{PerTensor, PerChannel, PerBlock}
	}
	g, err := pick("compressed-tensors", r.Weights, have...)
	if err != nil {
		return Scheme{}, err
	}
	return settled("compressed-tensors", r, Scheme{Weights: g, Static: r.Inputs && g != PerBlock})
}

func (compressedTensors) Stacks() bool { return false }
func (compressedTensors) Shares() bool { return true }

func (compressedTensors) Refuse(l Linear, s Scheme, tp int64) string {
	why := refuseEngine(l, s, tp)
	if why == "" && s.Weights == PerBlock { // older releases of the package
		why = refusePartial(l)
	}
	return why
}

func (compressedTensors) Beside(l Linear, s Scheme, v Values) []safetensors.Tensor {
	shape := tensor.Shape{1}
	if s.Weights != PerTensor {
		rows, columns := s.Scales(l.N, l.K)
		shape = tensor.Shape{rows, columns}
	}
	out := []safetensors.Tensor{list(l.Module+".weight_scale", shape, v.Dequant)}
	if s.Static {
		out = append(out, list(l.Module+".input_scale", tensor.Shape{1}, []float32{inputScale(v)}))
	}
	return out
}

type ctConfig struct {
	Method      string             `json:"quant_method"`
	Format      string             `json:"format"`
	Status      string             `json:"quantization_status"`
	Groups      map[string]ctGroup `json:"config_groups"`
	Ignore      []string           `json:"ignore"`
	KVCache     any                `json:"kv_cache_scheme"`
	Compression any                `json:"global_compression_ratio"`
	Version     string             `json:"version"`
}

type ctGroup struct {
	Targets []string `json:"targets"`
	Weights *ctArgs  `json:"weights"`
	Inputs  *ctArgs  `json:"input_activations"`
	Outputs *ctArgs  `json:"output_activations"`
	Format  string   `json:"format"`
}

type ctArgs struct {
	Bits      int64   `json:"num_bits"`
	Type      string  `json:"type"`
	Symmetric bool    `json:"symmetric"`
	Strategy  string  `json:"strategy"`
	Dynamic   bool    `json:"dynamic"`
	GroupSize *int64  `json:"group_size,omitempty"`
	Block     []int64 `json:"block_structure,omitempty"`
}

// ctVersion is the release of compressed-tensors whose configuration this is.
const ctVersion = "0.13.0"

func (compressedTensors) Edits(f Folder, s Scheme) (Edits, error) {
	if len(f.Quantized) == 0 {
		return Edits{}, nil
	}
	w := &ctArgs{Bits: 8, Type: "float", Symmetric: true, Strategy: string(s.Weights)}
	x := &ctArgs{Bits: 8, Type: "float", Symmetric: true, Strategy: "token", Dynamic: true}
	switch {
	case s.Static:
		x.Strategy, x.Dynamic = "tensor", false
	case s.Weights == PerBlock:
		size := int64(Block)
		w.Block, x.Strategy, x.GroupSize = []int64{Block, Block}, "group", &size
	}
	const format = "float-quantized"
	return Edits{Config: ctConfig{Method: "compressed-tensors", Format: format, Status: "compressed", Version: ctVersion, Ignore: f.Ignored,
		Groups: map[string]ctGroup{"group_0": {Targets: []string{"Linear"}, Weights: w, Inputs: x, Format: format}}}}, nil
}
