package family

import (
	"fmt"
	"math"
	"slices"
)

// decoder is what the families that follow Llama differ in: transformers' LlamaModel, MistralModel, Qwen2Model, Qwen3Model and GemmaModel.
type decoder struct {
	vocabulary, width, inner, layers, heads, kv, dim int64
	eps                                              float64
	act                                              string
	rope                                             rope
	qkvBias, outBias, mlpBias                        bool
	headNorms                                        bool    // RMSNorm of each head of q and k
	normOffset                                       float64 // added to the weights of norms
	scale                                            float64 // of the embedding
	windows                                          []int64 // of each layer; 0 for none
	tied                                             bool
	architecture                                     string
}

// decoder reads the settings that all have. kv and dim are the defaults of head counts and widths, 0 for those that follow from others.
func (s *settings) decoder(class string, kv, dim int64, act string, tied bool) *decoder {
	d := &decoder{architecture: s.architecture(class+"ForCausalLM", class+"Model"), vocabulary: s.count("vocab_size"), width: s.count("hidden_size"),
		inner: s.count("intermediate_size"), layers: s.count("num_hidden_layers"), heads: s.count("num_attention_heads"), scale: 1}
	d.eps = s.number("rms_norm_eps", 1e-6)
	d.act = s.activation("hidden_act", act)
	d.kv = s.countOr("num_key_value_heads", kv)
	if d.kv == 0 || !s.has("num_key_value_heads") && s.values["num_key_value_heads"] != nil { // null means what it means to all: as many as heads
		d.kv = d.heads
	}
	if d.heads%d.kv != 0 {
		s.fail("num_key_value_heads", fmt.Sprintf("a divisor of num_attention_heads, %d", d.heads))
	}
	if dim == 0 && !s.has("head_dim") && d.width%d.heads != 0 {
		s.fail("num_attention_heads", fmt.Sprintf("a divisor of hidden_size, %d", d.width))
	}
	if dim == 0 {
		dim = d.width / d.heads
	}
	d.dim = s.countOr("head_dim", dim)
	if d.dim%2 != 0 {
		s.fail("head_dim", "an even number")
	}
	d.rope = s.rope()
	d.tied = s.flag("tie_word_embeddings", tied)
	d.windows = make([]int64, min(d.layers, maxLayers))
	if d.layers > maxLayers {
		s.fail("num_hidden_layers", fmt.Sprintf("at most %d", maxLayers))
	}
	return d
}

// maxLayers bounds what a setting can make a graph grow to before a tensor is found missing.
const maxLayers = 10000

// every gives all layers one window.
func (d *decoder) every(window int64) {
	for i := range d.windows {
		d.windows[i] = window
	}
}

// windowsByLayer reads which layers have a window: layer_types, or use_sliding_window with the first max_window_layers left out.
func (s *settings) windowsByLayer(d *decoder) {
	window := s.countOr("sliding_window", 4096)
	if s.values["sliding_window"] != nil && !s.has("sliding_window") || !s.flag("use_sliding_window", false) {
		window = 0
	}
	s.flag("use_sliding_window", false)
	from := int64(28)
	s.read("max_window_layers", &from, "a whole number")
	for i := range d.windows {
		if int64(i) >= from {
			d.windows[i] = window
		}
	}
	var types []string
	if !s.read("layer_types", &types, "a list of full_attention and sliding_attention") {
		return
	}
	if int64(len(types)) != d.layers {
		s.fail("layer_types", fmt.Sprintf("one for each of num_hidden_layers, %d", d.layers))
	}
	for i, t := range types {
		switch {
		case t == "full_attention":
			d.windows[i] = 0
		case t == "sliding_attention" && window > 0:
			d.windows[i] = window
		case t == "sliding_attention":
			s.fail("layer_types", "full_attention alone, as use_sliding_window and sliding_window say")
		default:
			s.fail("layer_types", "full_attention and sliding_attention")
		}
	}
}

func llama(b *builder) {
	d := b.set.decoder("Llama", 0, 0, "silu", false)
	d.qkvBias = b.set.flag("attention_bias", false)
	d.outBias = d.qkvBias
	d.mlpBias = b.set.flag("mlp_bias", false)
	b.decoder(d)
}

func mistral(b *builder) {
	d := b.set.decoder("Mistral", 8, 0, "silu", false)
	window := b.set.countOr("sliding_window", 4096)
	if b.set.values["sliding_window"] != nil && !b.set.has("sliding_window") {
		window = 0 // null
	}
	d.every(window)
	b.decoder(d)
}

func qwen2(b *builder) {
	d := b.set.decoder("Qwen2", 32, 0, "silu", false)
	d.qkvBias = true
	b.set.windowsByLayer(d)
	b.decoder(d)
}

func qwen3(b *builder) {
	d := b.set.decoder("Qwen3", 32, 128, "silu", false)
	d.qkvBias = b.set.flag("attention_bias", false)
	d.outBias = d.qkvBias
	d.headNorms = true
	b.set.windowsByLayer(d)
	b.decoder(d)
}

func gemma(b *builder) {
	s := b.set
	// Early configurations say gelu in hidden_act and mean the approximation, which hidden_activation says where it is there.
	act := s.word("hidden_activation", "")
	if act != "" && !byTanh(act) {
		s.fail("hidden_activation", "gelu_pytorch_tanh")
	}
	if old := s.word("hidden_act", "gelu_pytorch_tanh"); old != "gelu" && !byTanh(old) {
		s.fail("hidden_act", "gelu_pytorch_tanh, or gelu, which means the same here")
	}
	d := s.decoder("Gemma", 16, 256, "gelu_pytorch_tanh", true)
	d.act = "gelu_pytorch_tanh"
	d.qkvBias = s.flag("attention_bias", false)
	d.outBias = d.qkvBias
	s.must("use_bidirectional_attention", "false")
	d.normOffset, d.scale = 1, math.Sqrt(float64(d.width))
	b.decoder(d)
}

// byTanh reports whether a name stands for the approximation of GELU.
func byTanh(act string) bool { return activations[act] == "tanh" || activations[act] == "formula" }

// decoder builds the graph.
func (b *builder) decoder(d *decoder) {
	base := b.w.prefix("model.", "embed_tokens.weight")
	table := base + "embed_tokens.weight"
	x := b.embed(table, b.ids, d.vocabulary, d.width)
	if d.scale != 1 {
		x = b.mul(x, b.float(d.scale))
	}
	cos, sin := b.angles(d.rope, d.dim)
	masks := map[int64]string{}
	for i, window := range d.windows {
		if _, ok := masks[window]; !ok {
			masks[window] = b.mask(true, window)
		}
		at := fmt.Sprintf("%slayers.%d.", base, i)
		x = b.block(d, x, at, masks[window], cos, sin)
	}
	x = b.rmsNorm(x, base+"norm", d.width, d.eps, d.normOffset)
	b.head(x, table, "lm_head", d.architecture, d.vocabulary, d.width, d.tied)
}

// block is one layer: attention and what follows it, each added to what came in.
func (b *builder) block(d *decoder, x, at, mask, cos, sin string) string {
	in := b.rmsNorm(x, at+"input_layernorm", d.width, d.eps, d.normOffset)
	attn := at + "self_attn"
	heads := func(name string, n int64, norm, turn bool) string {
		h := b.linear(in, attn+"."+name+"_proj", n*d.dim, d.width, d.qkvBias)
		b.module = attn
		h = b.split(h, n, d.dim)
		if norm {
			h = b.rmsNorm(h, attn+"."+name+"_norm", d.dim, d.eps, d.normOffset)
			b.module = attn
		}
		if h = b.forward(h); turn {
			h = b.rotate(h, cos, sin, d.dim)
		}
		return h
	}
	q, k, v := heads("q", d.heads, d.headNorms, true), heads("k", d.kv, d.headNorms, true), heads("v", d.kv, false, false)
	k, v = b.repeat(k, d.heads, d.kv, d.dim), b.repeat(v, d.heads, d.kv, d.dim)
	out := b.attend(q, k, v, mask, 1/math.Sqrt(float64(d.dim)), d.heads, d.dim)
	x = b.add(x, b.linear(out, attn+".o_proj", d.width, d.heads*d.dim, d.outBias))

	in = b.rmsNorm(x, at+"post_attention_layernorm", d.width, d.eps, d.normOffset)
	mlp := at + "mlp"
	gate := b.linear(in, mlp+".gate_proj", d.inner, d.width, d.mlpBias)
	gate = b.activate(gate, d.act)
	up := b.linear(in, mlp+".up_proj", d.inner, d.width, d.mlpBias)
	b.module = mlp
	return b.add(x, b.linear(b.mul(gate, up), mlp+".down_proj", d.width, d.inner, d.mlpBias))
}

// head ends the graph of a decoder: with logits, or, for an architecture without a head, with the last hidden state.
func (b *builder) head(x, table, module, architecture string, vocabulary, width int64, tied bool) {
	if !slices.Contains([]string{"ForCausalLM", "LMHeadModel"}, suffixOf(architecture)) {
		b.output("last_hidden_state", x, perToken(width)...)
		return
	}
	weight := b.tied(module+".weight", table, tied, vocabulary, width)
	b.output("logits", b.linearOf(x, module, weight, vocabulary, width, false), perToken(vocabulary)...)
}

// tied is the name of a head's weight: the embedding where the two are one. A checkpoint may hold the embedding a second time.
func (b *builder) tied(weight, table string, tied bool, rows, width int64) string {
	if !tied {
		return weight
	}
	if b.w.has(weight) {
		b.w.take(weight, rows, width)
		if !b.w.repeats(weight, table) {
			panic(failure{&TensorError{weight, "a tensor that differs from the embedding", "the same numbers, since tie_word_embeddings is true"}})
		}
	}
	return table
}

func suffixOf(architecture string) string {
	for _, s := range []string{"ForCausalLM", "LMHeadModel"} {
		if len(architecture) > len(s) && architecture[len(architecture)-len(s):] == s {
			return s
		}
	}
	return ""
}
