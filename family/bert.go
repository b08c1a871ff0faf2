package family

import (
	"fmt"
	"math"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// bert builds BERT, an encoder: transformers' BertModel with its outputs last_hidden_state and pooler_output, and the heads for masked tokens,
// sequences and tokens, whose output is logits.
func bert(b *builder) {
	s := b.set
	architecture := s.architecture("BertModel", "BertForMaskedLM", "BertForSequenceClassification", "BertForTokenClassification")
	vocabulary, width, layers, heads := s.count("vocab_size"), s.count("hidden_size"), s.count("num_hidden_layers"), s.count("num_attention_heads")
	inner, positions, types := s.count("intermediate_size"), s.count("max_position_embeddings"), s.count("type_vocab_size")
	eps := s.number("layer_norm_eps", 1e-12)
	act := s.activation("hidden_act", "gelu")
	tied := s.flag("tie_word_embeddings", true)
	s.must("position_embedding_type", `"absolute"`)
	if width%heads != 0 {
		s.fail("num_attention_heads", fmt.Sprintf("a divisor of hidden_size, %d", width))
	}
	if layers > maxLayers {
		s.fail("num_hidden_layers", fmt.Sprintf("at most %d", maxLayers))
	}
	dim := width / heads

	base := b.w.prefix("bert.", "embeddings.word_embeddings.weight")
	table := base + "embeddings.word_embeddings.weight"
	x := b.embed(table, b.ids, vocabulary, width)
	kinds := ""
	if b.opt.TokenTypes {
		kinds = b.input("token_type_ids")
	} else {
		kinds = b.list(0) // every token is of type 0
	}
	x = b.add(x, b.embed(base+"embeddings.token_type_embeddings.weight", kinds, types, width))
	x = b.add(x, b.embed(base+"embeddings.position_embeddings.weight", b.pos, positions, width))
	x = b.layerNorm(x, base+"embeddings.LayerNorm", width, eps)
	mask := b.mask(false, 0)
	for i := range layers {
		at := fmt.Sprintf("%sencoder.layer.%d.", base, i)
		part := func(name string) string {
			h := b.linear(x, at+"attention.self."+name, width, width, true)
			b.module = at + "attention.self"
			return b.forward(b.split(h, heads, dim))
		}
		out := b.attend(part("query"), part("key"), part("value"), mask, 1/math.Sqrt(float64(dim)), heads, dim)
		out = b.linear(out, at+"attention.output.dense", width, width, true)
		x = b.layerNorm(b.add(out, x), at+"attention.output.LayerNorm", width, eps)
		mid := b.activate(b.linear(x, at+"intermediate.dense", inner, width, true), act)
		out = b.linear(mid, at+"output.dense", width, inner, true)
		x = b.layerNorm(b.add(out, x), at+"output.LayerNorm", width, eps)
	}

	pooled := func() string {
		b.module = base + "pooler"
		first := b.op("Gather", []string{x, b.scalar(0)}, graph.Int("axis", 1))
		return b.op("Tanh", []string{b.linear(first, base+"pooler.dense", width, width, true)})
	}
	// Checkpoints that were pretrained keep their heads when they are loaded into another architecture.
	b.spare = func(name string) bool {
		return strings.HasPrefix(name, "cls.") && architecture != "BertForMaskedLM" || strings.HasPrefix(name, "cls.seq_relationship.") ||
			strings.HasPrefix(name, base+"pooler.") && architecture != "BertForSequenceClassification" && architecture != "BertModel"
	}
	switch architecture {
	case "BertModel":
		b.output("last_hidden_state", x, perToken(width)...)
		if b.w.has(base + "pooler.dense.weight") {
			b.output("pooler_output", pooled(), graph.Dim{Value: width})
		}
	case "BertForMaskedLM":
		const cls = "cls.predictions."
		h := b.activate(b.linear(x, cls+"transform.dense", width, width, true), act)
		h = b.layerNorm(h, cls+"transform.LayerNorm", width, eps)
		weight := b.tied(cls+"decoder.weight", table, tied, vocabulary, width)
		h = b.linearOf(h, cls+"decoder", weight, vocabulary, width, false)
		bias := cls + "bias" // decoder.bias is the same parameter, where a checkpoint repeats it
		if b.w.has(cls + "decoder.bias") {
			b.w.take(cls+"decoder.bias", vocabulary)
			if b.w.has(bias) && tied && !b.w.repeats(bias, cls+"decoder.bias") {
				panic(failure{&TensorError{cls + "decoder.bias", "a tensor that differs from " + bias, "the same numbers"}})
			}
			if b.w.has(bias) {
				b.w.take(bias, vocabulary)
			}
			bias = cls + "decoder.bias"
		}
		b.output("logits", b.add(h, b.weight(bias, vocabulary)), perToken(vocabulary)...)
	default:
		in, dims := x, []graph.Dim{{Value: -1, Param: "seq"}}
		if architecture == "BertForSequenceClassification" {
			in, dims = pooled(), nil
		}
		labels := b.w.take("classifier.weight", -1, width).Shape[0]
		b.output("logits", b.linear(in, "classifier", labels, width, true), append(dims, graph.Dim{Value: labels})...)
	}
}
