package family

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// rope is a rotary embedding as settings give it.
type rope struct {
	theta float64
	kind  string // default, linear, llama3
	// of linear and llama3
	factor float64
	// of llama3
	low, high, original float64
}

// rope reads the rotary embedding: rope_parameters, as transformers 5 writes it, or rope_theta and rope_scaling of those before.
func (s *settings) rope() rope {
	r := rope{theta: s.number("rope_theta", 10000), kind: "default"}
	if s.has("rope_parameters") && s.has("rope_scaling") {
		s.fail("rope_scaling", "no such key beside rope_parameters")
	}
	o := s.object("rope_parameters")
	if o == nil {
		o = s.object("rope_scaling")
	}
	s.use("rope_scaling", "max_position_embeddings")
	if o == nil {
		return r
	}
	if theta := o.number("rope_theta", r.theta); theta != r.theta {
		if s.has("rope_theta") {
			o.fail("rope_theta", s.got("rope_theta")+", as rope_theta says")
		}
		r.theta = theta
	}
	r.kind = o.word("rope_type", "")
	if legacy := o.word("type", r.kind); r.kind == "" {
		r.kind = legacy
	} else if legacy != r.kind {
		o.fail("type", `"`+r.kind+`", as rope_type says`)
	}
	o.must("partial_rotary_factor", "1", "1.0")
	switch r.kind {
	case "", "default":
		r.kind = "default"
	case "linear":
		r.factor = o.number("factor", 0)
	case "llama3":
		r.factor, r.low, r.high = o.number("factor", 0), o.number("low_freq_factor", 0), o.number("high_freq_factor", 0)
		r.original = o.number("original_max_position_embeddings", 0)
		for key, v := range map[string]float64{"low_freq_factor": r.low, "high_freq_factor": r.high, "original_max_position_embeddings": r.original} {
			if v == 0 {
				o.fail(key, "a number above 0")
			}
		}
		if r.high <= r.low {
			o.fail("high_freq_factor", "more than low_freq_factor")
		}
	default:
		o.fail("rope_type", "default, linear or llama3")
	}
	if r.kind != "default" && r.factor == 0 {
		o.fail("factor", "a number above 0")
	}
	o.done()
	return r
}

// frequencies are the angles per position, dim/2 of them: θ^(-2i/dim), scaled. They are rounded to float32 where torch does
// (transformers, modeling_rope_utils.py).
func (r rope) frequencies(dim int64) []float32 {
	out := make([]float32, dim/2)
	for i := range out {
		exponent := float32(2*i) / float32(dim)
		f := 1 / float32(math.Pow(r.theta, float64(exponent)))
		switch r.kind {
		case "linear":
			f /= float32(r.factor)
		case "llama3":
			f = r.llama3(f)
		}
		out[i] = f
	}
	return out
}

// llama3 divides slow frequencies by the factor, leaves fast ones alone, and goes from one to the other in between (_compute_llama3_parameters).
func (r rope) llama3(f float32) float32 {
	wave := float32(2*math.Pi) / f
	switch {
	case wave > float32(r.original/r.low):
		return f / float32(r.factor)
	case wave < float32(r.original/r.high):
		return f
	}
	smooth := (float32(r.original)/wave - float32(r.low)) / float32(r.high-r.low)
	return (1-smooth)*f/float32(r.factor) + smooth*f
}

// angles are cosine and sine of every position's angles, [1, 1, seq, dim] each, the second half like the first.
func (b *builder) angles(r rope, dim int64) (cos, sin string) {
	b.module = "rotary_emb"
	at := b.op("Unsqueeze", []string{b.op("Cast", []string{b.pos}, graph.Int("to", int64(tensor.Float32))), b.list(0, 1, 3)})
	half := b.mul(at, b.floats(tensor.Shape{1, 1, 1, dim / 2}, r.frequencies(dim)))
	all := b.op("Concat", []string{half, half}, graph.Int("axis", -1))
	return b.op("Cos", []string{all}), b.op("Sin", []string{all})
}

// rotate is x·cos + (-x₂, x₁)·sin of x = (x₁, x₂) [batch, heads, seq, dim].
func (b *builder) rotate(x, cos, sin string, dim int64) string {
	first := b.op("Slice", []string{x, b.list(0), b.list(dim / 2), b.list(3), b.list(1)})
	second := b.op("Slice", []string{x, b.list(dim / 2), b.list(math.MaxInt64), b.list(3), b.list(1)})
	turned := b.op("Concat", []string{b.op("Neg", []string{second}), first}, graph.Int("axis", -1))
	return b.add(b.mul(x, cos), b.mul(turned, sin))
}
