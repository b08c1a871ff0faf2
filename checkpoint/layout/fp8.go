package layout

import (
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// fp8 is vLLM's quant_method "fp8" in vLLM's names.
type fp8 struct{}

func (fp8) Name() string { return "fp8" }

func (fp8) Settle(r Request) (Scheme, error) {
	if err := needsFolder("fp8", r); err != nil {
		return Scheme{}, err
	}
	g, err := pick("fp8", r.Weights, PerTensor, PerBlock)
	if err != nil {
		return Scheme{}, err
	}
	return settled("fp8", r, Scheme{Weights: g, Static: r.Inputs && g == PerTensor})
}

func (fp8) Stacks() bool { return false }
func (fp8) Shares() bool { return true }

func (fp8) Refuse(l Linear, s Scheme, tp int64) string {
	if l.Head {
		return vllmHead
	}
	return refuseEngine(l, s, tp)
}

// vllmHead is why vLLM's fp8 method refuses an output head: it knows no scales there, and would stop at the name of one.
const vllmHead = "it is an output head, and vLLM's method fp8 reads linear layers alone"

func (fp8) Beside(l Linear, s Scheme, v Values) []safetensors.Tensor {
	if s.Weights == PerBlock {
		return []safetensors.Tensor{blockScales(l.Module+".weight_scale_inv", l, s, v)}
	}
	out := []safetensors.Tensor{scalar(l.Module+".weight_scale", first(v.Dequant))}
	if s.Static {
		out = append(out, scalar(l.Module+".input_scale", inputScale(v)))
	}
	return out
}

func (fp8) Edits(f Folder, s Scheme) (Edits, error) {
	if len(f.Quantized) == 0 {
		return Edits{}, nil
	}
	c := fp8Config{Method: "fp8", Scheme: activation(s), Ignored: f.Ignored}
	if s.Weights == PerBlock {
		c.Block = &[2]int64{Block, Block}
	}
	return Edits{Config: c}, nil
}

type fp8Config struct {
	Method  string    `json:"quant_method"`
	Format  string    `json:"fmt,omitempty"`
	Scheme  string    `json:"activation_scheme"`
	Block   *[2]int64 `json:"weight_block_size"`
	Ignored []string  `json:"ignored_layers,omitempty"`         // vLLM's key
	Keep    []string  `json:"modules_to_not_convert,omitempty"` // transformers' key
}

func activation(s Scheme) string {
	if s.Static {
		return "static"
	}
	return "dynamic"
}

func blockScales(name string, l Linear, s Scheme, v Values) safetensors.Tensor {
	rows, columns := s.Scales(l.N, l.K)
	shape := tensor.Shape{rows, columns}
	if l.Stacked {
		shape = tensor.Shape{l.Parts, rows, columns}
	}
	return list(name, shape, v.Dequant)
}

// fp8Transformers is quant_method "fp8" as transformers spells it (FineGrainedFP8Config, FP8Linear and FP8Experts).
type fp8Transformers struct{}

func (fp8Transformers) Name() string { return "fp8-transformers" }

func (fp8Transformers) Settle(r Request) (Scheme, error) {
	if err := needsFolder("fp8-transformers", r); err != nil {
		return Scheme{}, err
	}
	g, err := pick("fp8-transformers", r.Weights, PerTensor, PerBlock)
	if err != nil {
		return Scheme{}, err
	}
	return settled("fp8-transformers", r, Scheme{Weights: g, Static: r.Inputs && g == PerTensor})
}

func (fp8Transformers) Stacks() bool { return true }
func (fp8Transformers) Shares() bool { return true }

func (fp8Transformers) Refuse(l Linear, s Scheme, tp int64) string {
	why := conv1D(l)
	if why == "" {
		why = refuseShare(l, tp)
	}
	if why == "" && s.Weights == PerBlock {
		why = refuseBlocks(Linear{Module: l.Module, N: l.N, K: l.K}, tp) // it joins no layers
		if why == "" {                                                   // with dequantize, as on a machine without a GPU
			why = refuseUneven(l)
		}
	}
	return why
}

func (fp8Transformers) Beside(l Linear, s Scheme, v Values) []safetensors.Tensor {
	name, input := l.Module+".weight_scale_inv", l.Module+".activation_scale"
	if l.Stacked {
		name, input = l.Tensor+"_scale_inv", l.Tensor+"_activation_scale"
	}
	if s.Weights == PerBlock || l.Stacked {
		out := []safetensors.Tensor{blockScales(name, l, s, v)}
		if s.Weights == PerTensor && last(l.Module) == "gate_up_proj" { // which has room for a scale of each half
			twice := make([]float32, 0, 2*l.Parts)
			for _, d := range v.Dequant {
				twice = append(twice, d, d)
			}
			out[0] = list(name, tensor.Shape{l.Parts, 2, 1}, twice)
		}
		if s.Static {
			each := make([]float32, l.Parts)
			for i := range each {
				each[i] = inputScale(v)
			}
			out = append(out, list(input, tensor.Shape{l.Parts}, each))
		}
		return out
	}
	out := []safetensors.Tensor{scalar(name, first(v.Dequant))}
	if s.Static {
		out = append(out, scalar(input, inputScale(v)))
	}
	return out
}

func (fp8Transformers) Edits(f Folder, s Scheme) (Edits, error) {
	if len(f.Quantized) == 0 {
		return Edits{}, nil
	}
	c := fp8Config{Method: "fp8", Scheme: activation(s), Keep: f.Ignored}
	if s.Weights == PerBlock {
		c.Block = &[2]int64{Block, Block}
	}
	return Edits{Config: c}, nil
}
