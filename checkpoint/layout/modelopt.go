package layout

import (
	"encoding/json"

	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// modelOpt is what NVIDIA's ModelOpt exports for vLLM, TensorRT-LLM and SGLang. Its per-tensor form needs stored activation scales: without them
// vLLM would use its own "not loaded" mark as a scale. So without them weights are scaled per channel, and activations per token.
type modelOpt struct{}

func (modelOpt) Name() string { return "modelopt" }

func (modelOpt) Settle(r Request) (Scheme, error) {
	if err := needsFolder("modelopt", r); err != nil {
		return Scheme{}, err
	}
	have := []Granularity{PerChannel, PerBlock}
	if r.Inputs {
		have = []Granularity{PerTensor, PerChannel, PerBlock}
	}
	if r.Weights == PerTensor && !r.Inputs {
		return Scheme{}, errNoInputs{}
	}
	g, err := pick("modelopt", r.Weights, have...)
	if err != nil {
		return Scheme{}, err
	}
	return settled("modelopt", r, Scheme{Weights: g, Static: g == PerTensor})
}

// errNoInputs says that static scales are missing.
type errNoInputs struct{}

func (errNoInputs) Error() string {
	return "layout modelopt: weight scales per tensor need a stored scale of each activation, and none are at hand"
}

func (modelOpt) Stacks() bool { return false }
func (modelOpt) Shares() bool { return true }

func (modelOpt) Refuse(l Linear, s Scheme, tp int64) string {
	why := refuseEngine(l, s, tp)
	if why == "" && s.Weights == PerBlock {
		why = refusePartial(l)
	}
	return why
}

func (modelOpt) Beside(l Linear, s Scheme, v Values) []safetensors.Tensor {
	name := l.Module + ".weight_scale"
	switch s.Weights {
	case PerChannel:
		return []safetensors.Tensor{list(name, tensor.Shape{l.N}, v.Dequant)}
	case PerBlock:
		rows, columns := s.Scales(l.N, l.K)
		return []safetensors.Tensor{list(name, tensor.Shape{rows, 1, columns, 1}, v.Dequant)}
	}
	return []safetensors.Tensor{scalar(name, first(v.Dequant)), scalar(l.Module+".input_scale", inputScale(v))}
}

type moProducer struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

type moConfig struct {
	Algo     string     `json:"quant_algo"`
	Method   string     `json:"quant_method"`
	Ignore   []string   `json:"ignore"`
	KVCache  any        `json:"kv_cache_scheme"`
	Producer moProducer `json:"producer"`
}

type moFile struct {
	Producer     moProducer `json:"producer"`
	Quantization struct {
		Algo    string   `json:"quant_algo"`
		KVCache any      `json:"kv_cache_quant_algo"`
		Exclude []string `json:"exclude_modules"`
	} `json:"quantization"`
}

func (modelOpt) Edits(f Folder, s Scheme) (Edits, error) {
	if len(f.Quantized) == 0 {
		return Edits{}, nil
	}
	algo := map[Granularity]string{PerTensor: "FP8", PerChannel: "FP8_PER_CHANNEL_PER_TOKEN", PerBlock: "FP8_PB_WO"}[s.Weights]
	by := moProducer{"fp8rewrite", f.Version}
	file := moFile{Producer: by}
	file.Quantization.Algo, file.Quantization.Exclude = algo, f.Ignored
	text, err := json.MarshalIndent(file, "", "    ")
	if err != nil {
		return Edits{}, err
	}
	return Edits{Config: moConfig{Algo: algo, Method: "modelopt", Ignore: f.Ignored, Producer: by},
		Files: map[string][]byte{"hf_quant_config.json": append(text, '\n')}}, nil
}
