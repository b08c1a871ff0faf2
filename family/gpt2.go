package family

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// gpt2 builds GPT-2, transformers' GPT2LMHeadModel and GPT2Model: learned positions, LayerNorm before each part, and linear layers that are stored as
// [inputs, outputs] (Conv1D).
func gpt2(b *builder) {
	s := b.set
	architecture := s.architecture("GPT2LMHeadModel", "GPT2Model")
	vocabulary, width, layers, heads := s.count("vocab_size"), s.count("n_embd"), s.count("n_layer"), s.count("n_head")
	positions := s.count("n_positions")
	if old := s.countOr("n_ctx", positions); old != positions {
		s.fail("n_ctx", fmt.Sprintf("%d, as n_positions says", positions))
	}
	inner := s.countOr("n_inner", 4*width)
	eps := s.number("layer_norm_epsilon", 1e-5)
	act := s.activation("activation_function", "gelu_new")
	scaled, byLayer := s.flag("scale_attn_weights", true), s.flag("scale_attn_by_inverse_layer_idx", false)
	tied := s.flag("tie_word_embeddings", true)
	// The summary is a head of another architecture; the order of a product and its scaling is one of rounding.
	s.use("reorder_and_upcast_attn", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout")
	if width%heads != 0 {
		s.fail("n_head", fmt.Sprintf("a divisor of n_embd, %d", width))
	}
	if layers > maxLayers {
		s.fail("n_layer", fmt.Sprintf("at most %d", maxLayers))
	}
	dim := width / heads

	base := b.w.prefix("transformer.", "wte.weight")
	table := base + "wte.weight"
	x := b.embed(table, b.ids, vocabulary, width)
	x = b.add(x, b.embed(base+"wpe.weight", b.pos, positions, width))
	mask := b.mask(true, 0)
	for i := range layers {
		at := fmt.Sprintf("%sh.%d.", base, i)
		scale := 1.0
		if scaled {
			scale = 1 / math.Sqrt(float64(dim))
		}
		if byLayer {
			scale /= float64(i + 1)
		}
		qkv := b.conv1D(b.layerNorm(x, at+"ln_1", width, eps), at+"attn.c_attn", 3*width, width)
		b.module = at + "attn"
		parts := b.node("Split", []string{qkv}, 3, graph.Int("axis", -1), graph.Int("num_outputs", 3)).Outputs
		q, k, v := b.forward(b.split(parts[0], heads, dim)), b.forward(b.split(parts[1], heads, dim)), b.forward(b.split(parts[2], heads, dim))
		out := b.attend(q, k, v, mask, scale, heads, dim)
		x = b.add(x, b.conv1D(out, at+"attn.c_proj", width, width))
		in := b.conv1D(b.layerNorm(x, at+"ln_2", width, eps), at+"mlp.c_fc", inner, width)
		x = b.add(x, b.conv1D(b.activate(in, act), at+"mlp.c_proj", width, inner))
	}
	x = b.layerNorm(x, base+"ln_f", width, eps)
	b.head(x, table, "lm_head", architecture, vocabulary, width, tied)
}
