package family

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// lowest is what is added to scores that do not count: the least float32, so that a row of which nothing counts becomes even instead of NaN.
const lowest = -math.MaxFloat32

// mask is what is added to scores [batch, heads, query, key]: 0 where a query may see a key. A causal query sees no key after it, and with a window
// above 0 none that lies window or more before it. It is "" where everything counts.
func (b *builder) mask(causal bool, window int64) string {
	b.module = "mask"
	allowed := ""
	both := func(x string) {
		if allowed != "" {
			x = b.op("And", []string{allowed, x})
		}
		allowed = x
	}
	if causal {
		query, key := b.op("Unsqueeze", []string{b.pos, b.list(1)}), b.op("Unsqueeze", []string{b.pos, b.list(0)})
		both(b.op("LessOrEqual", []string{key, query}))
		if window > 0 {
			both(b.op("Greater", []string{key, b.op("Sub", []string{query, b.scalar(window)})}))
		}
		allowed = b.op("Unsqueeze", []string{allowed, b.list(0, 1)})
	}
	if b.opt.AttentionMask {
		if !b.hasInput("attention_mask") {
			b.input("attention_mask")
		}
		seen := b.op("Cast", []string{"attention_mask"}, graph.Int("to", int64(tensor.Bool)))
		both(b.op("Unsqueeze", []string{seen, b.list(1, 2)}))
	}
	if allowed == "" {
		return ""
	}
	return b.op("Where", []string{allowed, b.float(0), b.float(lowest)})
}

func (b *builder) hasInput(name string) bool {
	for _, v := range b.g.Inputs {
		if v.Name == name {
			return true
		}
	}
	return false
}

// split cuts x [batch, seq, heads·dim] into heads [batch, seq, heads, dim].
func (b *builder) split(x string, heads, dim int64) string {
	return b.op("Reshape", []string{x, b.list(0, 0, heads, dim)})
}

// forward turns [batch, seq, heads, dim] into [batch, heads, seq, dim].
func (b *builder) forward(x string) string {
	return b.op("Transpose", []string{x}, graph.Ints("perm", 0, 2, 1, 3))
}

// repeat gives each head of x [batch, kv, seq, dim] to heads/kv queries.
func (b *builder) repeat(x string, heads, kv, dim int64) string {
	if heads == kv {
		return x
	}
	x = b.op("Unsqueeze", []string{x, b.list(2)})
	x = b.op("Expand", []string{x, b.list(1, 1, heads/kv, 1, 1)})
	return b.op("Reshape", []string{x, b.list(0, heads, -1, dim)})
}

// attend is softmax(q·kᵀ·scale + mask)·v of [batch, heads, seq, dim], with the heads side by side again: [batch, seq, heads·dim].
func (b *builder) attend(q, k, v, mask string, scale float64, heads, dim int64) string {
	scores := b.op("MatMul", []string{q, b.op("Transpose", []string{k}, graph.Ints("perm", 0, 1, 3, 2))})
	if scale != 1 {
		scores = b.mul(scores, b.float(scale))
	}
	if mask != "" {
		scores = b.add(scores, mask)
	}
	out := b.op("MatMul", []string{b.op("Softmax", []string{scores}, graph.Int("axis", -1)), v})
	return b.op("Reshape", []string{b.forward(out), b.list(0, 0, heads*dim)})
}
