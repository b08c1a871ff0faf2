package layout

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestSpelling is each layout as it stands in a checkpoint: the tensors beside a weight of [256, 384], and the settings.
func TestSpelling(t *testing.T) {
	t.Parallel()
	folder := Folder{Ignored: []string{"lm_head"}, Quantized: []string{"m.a", "m.b"}, Version: "9"}
	for _, c := range []struct {
		layout string
		ask    Request
		beside string
		config string
	}{
		{"float8-linear", Request{}, "m.fp8_amax_input[1] m.fp8_amax_history_input[16] m.fp8_scale_input[1] m.fp8_amax_weight[1] m.fp8_amax_history_weight[16] " +
			"m.fp8_scale_weight[1] m.fp8_amax_grad_output[1] m.fp8_amax_history_grad_output[16] m.fp8_scale_grad_output[1]", `{"quant_method":"float8-linear"}`},
		{"compressed-tensors", Request{}, "m.weight_scale[256,1]", `{"quant_method":"compressed-tensors","format":"float-quantized","quantization_status":"compressed",` +
			`"config_groups":{"group_0":{"targets":["Linear"],"weights":{"num_bits":8,"type":"float","symmetric":true,"strategy":"channel","dynamic":false},` +
			`"input_activations":{"num_bits":8,"type":"float","symmetric":true,"strategy":"token","dynamic":true},"output_activations":null,"format":"float-quantized"}},` +
			`"ignore":["lm_head"],"kv_cache_scheme":null,"global_compression_ratio":null,"version":"0.13.0"}`},
		{"compressed-tensors", Request{Inputs: true}, "m.weight_scale[1] m.input_scale[1]", `"strategy":"tensor","dynamic":false},"input_activations":{"num_bits":8,"type":"float","symmetric":true,"strategy":"tensor","dynamic":false}`},
		{"compressed-tensors", Request{Weights: PerBlock}, "m.weight_scale[2,3]", `"strategy":"block","dynamic":false,"block_structure":[128,128]},"input_activations":{"num_bits":8,"type":"float","symmetric":true,"strategy":"group","dynamic":true,"group_size":128}`},
		{"fp8", Request{}, "m.weight_scale[]", `{"quant_method":"fp8","activation_scheme":"dynamic","weight_block_size":null,"ignored_layers":["lm_head"]}`},
		{"fp8", Request{Inputs: true}, "m.weight_scale[] m.input_scale[]", `"activation_scheme":"static"`},
		{"fp8", Request{Weights: PerBlock}, "m.weight_scale_inv[2,3]", `"activation_scheme":"dynamic","weight_block_size":[128,128]`},
		{"fp8-transformers", Request{Inputs: true}, "m.weight_scale_inv[] m.activation_scale[]", `{"quant_method":"fp8","activation_scheme":"static","weight_block_size":null,"modules_to_not_convert":["lm_head"]}`},
		{"modelopt", Request{}, "m.weight_scale[256]", `{"quant_algo":"FP8_PER_CHANNEL_PER_TOKEN","quant_method":"modelopt","ignore":["lm_head"],"kv_cache_scheme":null,"producer":{"name":"fp8rewrite","version":"9"}}`},
		{"modelopt", Request{Inputs: true}, "m.weight_scale[] m.input_scale[]", `"quant_algo":"FP8"`},
		{"modelopt", Request{Weights: PerBlock}, "m.weight_scale[2,1,3,1]", `"quant_algo":"FP8_PB_WO"`},
		{"comfy", Request{Inputs: true}, "m.weight_scale[] m.input_scale[]", `{"quant_method":"comfy"}`},
		{"deepseek", Request{}, "m.weight_scale_inv[2,3]", `{"quant_method":"fp8","fmt":"e4m3","activation_scheme":"dynamic","weight_block_size":[128,128],"ignored_layers":["lm_head"],"modules_to_not_convert":["lm_head"]}`},
	} {
		l, err := Find(c.layout)
		if err != nil {
			t.Fatal(err)
		}
		c.ask.Folder = true
		s, err := l.Settle(c.ask)
		if err != nil {
			t.Fatal(err)
		}
		var beside []string
		for _, x := range l.Beside(Linear{Module: "m", Tensor: "m.weight", Parts: 1, N: 256, K: 384}, s, Values{}) {
			beside = append(beside, fmt.Sprintf("%s%s", x.Name, x.Shape))
		}
		if got := strings.Join(beside, " "); got != c.beside {
			t.Errorf("%s %+v: beside the weight\n%s, want\n%s", c.layout, s, got, c.beside)
		}
		e, err := l.Edits(folder, s)
		if err != nil {
			t.Fatal(err)
		}
		config, err := json.Marshal(e.Config)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(config); !strings.Contains(got, c.config) {
			t.Errorf("%s %+v: settings\n%s, want\n%s", c.layout, s, got, c.config)
		}
		if none, err := l.Edits(Folder{}, s); err != nil || none.Config != nil || none.Files != nil || none.Metadata != nil {
			t.Errorf("%s: without a float8 layer there are settings: %+v (%v)", c.layout, none, err)
		}
	}
	e, err := comfy{}.Edits(folder, Scheme{})
	if err != nil || e.Metadata["_quantization_metadata"] != `{"format_version":"1.0","layers":{"m.a":{"format":"float8_e4m3fn"},"m.b":{"format":"float8_e4m3fn"}}}` {
		t.Errorf("comfy: %v (%v)", e.Metadata, err)
	}
	if _, err := Find("gguf"); err == nil {
		t.Error("a layout that is none was found")
	}
}

// TestStoredScalesHaveAPlace or are refused: they are never passed over.
func TestStoredScalesHaveAPlace(t *testing.T) {
	t.Parallel()
	for _, l := range All() {
		for _, g := range []Granularity{"", PerTensor, PerChannel, PerBlock} {
			s, err := l.Settle(Request{Weights: g, Inputs: true, Folder: true})
			if err == nil && !s.Static {
				t.Errorf("%s %s: %+v", l.Name(), g, s)
			}
		}
	}
}

// TestDevices: what a number of devices does to layers.
func TestDevices(t *testing.T) {
	t.Parallel()
	block := Scheme{Weights: PerBlock}
	for _, c := range []struct {
		l    Linear
		s    Scheme
		tp   int64
		want string
	}{
		{Linear{Module: "a.q_proj", N: 512, K: 512}, block, 4, ""},
		{Linear{Module: "a.q_proj", N: 512, K: 512}, block, 8, "with 8 devices each gets 64 of its outputs"},
		{Linear{Module: "a.down_proj", N: 512, K: 512}, block, 8, "with 8 devices each gets 64 of its inputs"},
		{Linear{Module: "a.k_proj", N: 256, K: 512, Heads: 2}, block, 8, ""}, // four devices have a copy of each head
		{Linear{Module: "a.k_proj", N: 128, K: 512, Heads: 2}, block, 8, "each gets 64 of its outputs"},
		{Linear{Module: "a.k_proj", N: 256, K: 512, Heads: 2}, Scheme{Weights: PerChannel}, 8, ""},
		{Linear{Module: "a.kv_a_proj_with_mqa", N: 576, K: 512}, block, 8, ""}, // every device has the whole
		{Linear{Module: "a.gate_proj", N: 500, K: 512}, Scheme{Weights: PerChannel}, 8, "its 500 outputs do not divide among 8 devices"},
		{Linear{Module: "a.o_proj", N: 512, K: 500}, Scheme{Weights: PerTensor}, 8, "its 500 inputs do not divide among 8 devices"},
		{Linear{Module: "a.up_proj", N: 704, K: 512, Fused: true}, block, 1, "its 704 outputs do not fill blocks of 128"},
		{Linear{Module: "a.c_attn", N: 704, K: 512, Conv1D: true}, block, 1, "Conv1D"},
	} {
		if got := (fp8{}).Refuse(c.l, c.s, c.tp); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%+v, %d devices: %q, want %q", c.l, c.tp, got, c.want)
		}
	}
}
