package checkpoint

import (
	"slices"
	"strings"
)

// last is the last part of a module's name.
func last(module string) string { return module[strings.LastIndexByte(module, '.')+1:] }

// parent is a module's name without its last part.
func parent(module string) string {
	if i := strings.LastIndexByte(module, '.'); i >= 0 {
		return module[:i]
	}
	return ""
}

// Roles that keep a weight unless an include pattern names it. Their texts stand in the report.
const (
	roleEmbedding   = "an embedding"
	roleNorm        = "a normalization"
	roleRouter      = "a router of experts"
	roleConvolution = "a convolution"
	roleHead        = "an output head"
	roleEncoder     = "part of the vision or audio encoder"
)

var (
	embeddings = []string{"wte", "wpe", "shared", "tokens_embed", "positions_embed", "relative_attention_bias", "embedder"}
	heads      = []string{"lm_head", "embed_out", "output_layer", "classifier", "score", "qa_outputs", "seq_relationship", "head"}
	routers    = []string{"gate", "router", "wg", "shared_expert_gate"}
	encoders   = []string{"vision_tower", "vision_model", "vision_encoder", "visual", "vision", "audio_tower", "audio_model", "audio_encoder",
		"multi_modal_projector", "mm_projector", "embed_vision", "embed_audio", "vision_projection"}
)

// roleOf is the role of a module by its name, "" for a linear layer. multimodal says that config.json describes encoders beside a text model.
func roleOf(module string, multimodal bool) string {
	name := last(module)
	parts := strings.Split(module, ".")
	switch {
	case slices.Contains(heads, name), module == "output", strings.HasSuffix(module, "predictions.decoder"):
		return roleHead
	case slices.Contains(embeddings, name), strings.HasPrefix(name, "embed_"), strings.Contains(name, "embedding"), name == "embed":
		return roleEmbedding
	case strings.HasPrefix(name, "ln_"), strings.Contains(strings.ToLower(name), "norm"):
		return roleNorm
	case slices.Contains(routers, name), slices.Contains(parts, "router"):
		return roleRouter
	}
	if multimodal {
		for _, p := range parts {
			if slices.Contains(encoders, p) {
				return roleEncoder
			}
		}
	}
	return ""
}

// joined are the layers that engines compute as one product, by the last parts of their names. They read the same input.
var joined = [][]string{
	{"q_proj", "k_proj", "v_proj"}, {"query", "key", "value"}, {"q", "k", "v"}, {"wq", "wk", "wv"}, {"to_q", "to_k", "to_v"},
	{"query_proj", "key_proj", "value_proj"}, {"gate_proj", "up_proj"}, {"w1", "w3"}, {"wi_0", "wi_1"},
	{"q_a_proj", "kv_a_proj_with_mqa"}, {"in_proj_qkv", "in_proj_z"}, {"in_proj_b", "in_proj_a"},
}

// Layers that a checkpoint holds joined, by the last parts of their names.
var (
	joinedAttention = []string{"qkv_proj", "query_key_value", "Wqkv", "wqkv", "W_pack", "qkv", "c_attn"}
	joinedGate      = []string{"gate_up_proj", "w13", "gate_and_up_proj"}
)

// joinKey names the group of layers that a module would be joined with, "" for none.
func joinKey(module string) string {
	for _, set := range joined {
		if slices.Contains(set, last(module)) {
			return parent(module) + "|" + set[0]
		}
	}
	return ""
}

// expertsOf is the module that holds all experts of a block; "" for a layer that is no expert.
func expertsOf(module string) string {
	parts := strings.Split(module, ".")
	for i := len(parts) - 2; i > 0; i-- {
		if parts[i-1] == "experts" && isNumber(parts[i]) {
			return strings.Join(parts[:i], ".")
		}
	}
	return ""
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Stacked experts are called after their block: experts.gate_up_proj and experts.down_proj, without .weight.
func stackedModule(tensor string) bool {
	return last(parent(tensor)) == "experts" && slices.Contains([]string{"gate_up_proj", "down_proj", "gate_proj", "up_proj", "w1", "w2", "w3"}, last(tensor))
}

// conv1DFamilies store linear layers as [K, N], in these modules.
var (
	conv1DFamilies = []string{"gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp", "gpt-sw3"}
	conv1DModules  = []string{"c_attn", "c_proj", "c_fc", "q_attn"}
)

// transposedFamilies stack experts as [experts, K, N]. gpt_oss also interleaves the halves of gate_up_proj.
var transposedFamilies = []string{"llama4", "llama4_text", "gpt_oss"}
