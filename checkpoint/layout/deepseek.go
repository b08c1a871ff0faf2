package layout

import "github.com/fp8rewrite/fp8rewrite/safetensors"

// deepSeek is what DeepSeek-V3 ships: blocks of 128×128 with float32 multipliers called weight_scale_inv, activations scaled while the model runs.
// vLLM, SGLang, transformers and ollama read it from the same files, so the list of kept layers has the keys of both families.
type deepSeek struct{}

func (deepSeek) Name() string { return "deepseek" }

func (deepSeek) Settle(r Request) (Scheme, error) {
	if err := needsFolder("deepseek", r); err != nil {
		return Scheme{}, err
	}
	g, err := pick("deepseek", r.Weights, PerBlock)
	if err != nil {
		return Scheme{}, err
	}
	return settled("deepseek", r, Scheme{Weights: g})
}

func (deepSeek) Stacks() bool { return false }
func (deepSeek) Shares() bool { return false }

func (deepSeek) Refuse(l Linear, s Scheme, tp int64) string {
	if l.Head {
		return vllmHead
	}
	why := refuseEngine(l, s, tp)
	if why == "" && l.Turned { // transformers
		why = "it is an expert of a family whose experts are stacked as [K, N], and the loader finds no others"
	}
	if why == "" { // transformers, where it dequantizes
		why = refuseUneven(l)
	}
	return why
}

func (deepSeek) Beside(l Linear, s Scheme, v Values) []safetensors.Tensor {
	return []safetensors.Tensor{blockScales(l.Module+".weight_scale_inv", l, s, v)}
}

func (deepSeek) Edits(f Folder, _ Scheme) (Edits, error) {
	if len(f.Quantized) == 0 {
		return Edits{}, nil
	}
	return Edits{Config: fp8Config{Method: "fp8", Format: "e4m3", Scheme: "dynamic", Block: &[2]int64{Block, Block}, Ignored: f.Ignored,
		Keep: f.Ignored}}, nil
}
