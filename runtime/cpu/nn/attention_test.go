package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// reference is attention by its definition over arrays [batch, heads, rows, size]. bias gives what is added to a score, -Inf what is not
// looked at.
func reference(q, k, v *array, scale, softcap float64, bias func(b, h, i, j int) float64) (y *array, stages [4]*array) {
	batch, heads, rows, size := q.shape[0], q.shape[1], q.shape[2], q.shape[3]
	keys, group := k.shape[2], heads/k.shape[1]
	y = zeros(batch, heads, rows, v.shape[3])
	for s := range stages {
		stages[s] = zeros(batch, heads, rows, keys)
	}
	each([]int{batch, heads, rows}, func(i []int) {
		total, top := 0.0, math.Inf(-1)
		for j := range keys {
			score := 0.0
			for d := range size {
				score += q.at(i[0], i[1], i[2], d) * k.at(i[0], i[1]/group, j, d) * scale
			}
			*stages[0].ref(i[0], i[1], i[2], j) = score
			if softcap != 0 {
				score = softcap * math.Tanh(score/softcap)
			}
			*stages[1].ref(i[0], i[1], i[2], j) = score
			score += bias(i[0], i[1], i[2], j)
			*stages[2].ref(i[0], i[1], i[2], j) = score
			top = max(top, score)
		}
		for j := range keys {
			total += math.Exp(stages[2].at(i[0], i[1], i[2], j) - top)
		}
		for j := range keys {
			p := math.Exp(stages[2].at(i[0], i[1], i[2], j)-top) / total
			*stages[3].ref(i[0], i[1], i[2], j) = p
			for d := range v.shape[3] {
				*y.ref(i[0], i[1], i[2], d) += p * v.at(i[0], i[1]/group, j, d)
			}
		}
	})
	return y, stages
}

// flat brings [batch, heads, rows, size] to [batch, rows, heads·size].
func flat(a *array) *array {
	s := swap(a, 0, 2, 1, 3)
	return &array{[]int{s.shape[0], s.shape[1], s.shape[2] * s.shape[3]}, s.v}
}

// behind puts the rows of b after those of a.
func behind(a, b *array) *array {
	y := zeros(a.shape[0], a.shape[1], a.shape[2]+b.shape[2], a.shape[3])
	each(y.shape, func(i []int) {
		if i[2] < a.shape[2] {
			*y.ref(i...) = a.at(i...)
		} else {
			*y.ref(i...) = b.at(i[0], i[1], i[2]-a.shape[2], i[3])
		}
	})
	return y
}

func TestAttentionIsItsDefinition(t *testing.T) {
	inf := math.Inf(-1)
	for n, c := range []struct {
		heads, kvHeads, rows, keys, size, vSize, past int
		mask                                          []int // shape
		boolMask, causal, lengths                     bool
		scale, softcap                                float64
	}{
		{heads: 2, kvHeads: 2, rows: 5, keys: 5, size: 4, vSize: 4},
		{heads: 6, kvHeads: 2, rows: 3, keys: 7, size: 4, vSize: 6, mask: []int{3, 7}},
		{heads: 4, kvHeads: 1, rows: 4, keys: 4, size: 3, vSize: 2, causal: true, scale: 0.5},
		{heads: 2, kvHeads: 2, rows: 3, keys: 4, size: 4, vSize: 4, past: 5, causal: true, mask: []int{2, 1, 3, 9}, boolMask: true},
		{heads: 2, kvHeads: 2, rows: 1, keys: 1, size: 8, vSize: 8, past: 6, softcap: 2},
		{heads: 3, kvHeads: 3, rows: 2, keys: 6, size: 2, vSize: 2, mask: []int{3, 1, 1}, softcap: 0.5},
		{heads: 2, kvHeads: 1, rows: 2, keys: 6, size: 2, vSize: 2, mask: []int{2, 1, 2, 4}},
		{heads: 2, kvHeads: 2, rows: 3, keys: 6, size: 4, vSize: 4, lengths: true, mask: []int{1, 6}, boolMask: true},
		{heads: 2, kvHeads: 2, rows: 200, keys: 130, size: 16, vSize: 20, causal: true},
	} {
		rng := rand.New(rand.NewPCG(5, uint64(n)))
		const batch = 2
		q, k, v := random(rng, batch, c.heads, c.rows, c.size), random(rng, batch, c.kvHeads, c.keys, c.size), random(rng, batch, c.kvHeads, c.keys, c.vSize)
		var mask, pastK, pastV, lengths *array
		allK, allV := k, v
		if c.past > 0 {
			pastK, pastV = random(rng, batch, c.kvHeads, c.past, c.size), random(rng, batch, c.kvHeads, c.past, c.vSize)
			allK, allV = behind(pastK, k), behind(pastV, v)
		}
		if c.mask != nil {
			mask = random(rng, c.mask...)
			if c.boolMask {
				for i := range mask.v {
					mask.v[i] = float64(rng.IntN(2))
					if i%c.mask[len(c.mask)-1] == 0 {
						mask.v[i] = 1
					}
				}
			}
		}
		if c.lengths {
			lengths = list(4, 6)
		}
		scale := c.scale
		attrs := []*graph.Attribute{graph.Float("softcap", float32(c.softcap))}
		if scale == 0 {
			scale = 1 / math.Sqrt(float64(c.size))
		} else {
			attrs = append(attrs, graph.Float("scale", float32(scale)))
		}
		if c.causal {
			attrs = append(attrs, graph.Int("is_causal", 1))
		}
		want, stages := reference(q, allK, allV, scale, c.softcap, func(b, h, i, j int) float64 {
			if c.causal && j > i+c.past || lengths != nil && j >= int(lengths.v[b]) {
				return inf
			}
			if mask == nil {
				return 0
			}
			if j >= c.mask[len(c.mask)-1] && c.mask[len(c.mask)-1] > 1 {
				return inf
			}
			index := []int{b, h, i, j}[4-len(c.mask):]
			for d, n := range c.mask {
				if n == 1 {
					index[d] = 0
				}
			}
			m := mask.at(index...)
			if !c.boolMask {
				return m
			}
			if m == 0 {
				return inf
			}
			return 0
		})
		for _, d := range floatTypes {
			maskType := d
			if c.boolMask {
				maskType = tensor.Bool
			}
			opset := int64(24)
			if len(c.mask) == 3 && c.mask[2] == 1 {
				opset = 23 // where one key's mask spreads over all
			}
			name := fmt.Sprintf("case %d, %s", n, d)
			in := []*kernel.Tensor{q.as(d), k.as(d), v.as(d), mask.as(maskType), pastK.as(d), pastV.as(d), lengths.as(tensor.Int64)}
			for stage, scores := range stages {
				got := node{op: "Attention", opset: opset, outs: 4, attrs: append(attrs, graph.Int("qk_matmul_output_mode", int64(stage)))}.must(t, in...)
				same(t, name, got[0], d, want)
				same(t, name+", keys", got[1], d, allK)
				same(t, name+", values", got[2], d, allV)
				same(t, fmt.Sprintf("%s, stage %d", name, stage), got[3], d, scores)
			}
			in[0], in[1], in[2] = flat(q).as(d), flat(k).as(d), flat(v).as(d)
			got := node{op: "Attention", opset: opset, attrs: append(attrs, graph.Int("q_num_heads", int64(c.heads)), graph.Int("kv_num_heads", int64(c.kvHeads)))}.must(t, in...)
			same(t, name+", three axes", got[0], d, flat(want))
		}
	}
}

func TestARowOfAttentionDependsOnItsQueryAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 100))
	q, k, v := random(rng, 3, 2, 410, 16), random(rng, 3, 2, 150, 16), random(rng, 3, 2, 150, 24)
	all := node{op: "Attention", threads: 4}.must(t, q.f32(), k.f32(), v.f32())[0]
	bits(t, "one thread", node{op: "Attention", threads: 1}.must(t, q.f32(), k.f32(), v.f32())[0], all)
	for _, row := range []int{0, 95, 96, 191, 192, 400} {
		one := zeros(1, 2, 1, 16)
		each(one.shape, func(i []int) { *one.ref(i...) = q.at(1, i[1], row, i[3]) })
		keys, values := &array{[]int{1, 2, 150, 16}, k.v[len(k.v)/3:][:len(k.v)/3]}, &array{[]int{1, 2, 150, 24}, v.v[len(v.v)/3:][:len(v.v)/3]}
		got := node{op: "Attention"}.must(t, one.f32(), keys.f32(), values.f32())[0]
		for h := range 2 {
			at := ((2+h)*410 + row) * 24 * 4
			if string(got.Bytes[h*96:][:96]) != string(all.Bytes[at:][:96]) {
				t.Errorf("row %d of head %d alone has other bits", row, h)
			}
		}
	}
}

func TestAttentionRefusesWhatDoesNotFit(t *testing.T) {
	q, k := zeros(1, 4, 3, 2).f32(), zeros(1, 3, 3, 2).f32()
	n := node{op: "Attention"}
	n.refuses(t, "4 heads of input 0 are not a multiple of 3 heads of input 1", q, k, k)
	n.refuses(t, "heads of inputs 0 and 1 have sizes 2 and 3", q, zeros(1, 4, 3, 3).f32(), q)
	n.refuses(t, "have batches of 1, 2 and 1", q, zeros(2, 4, 3, 2).f32(), q)
	n.refuses(t, "number of heads is not given", zeros(1, 3, 8).f32(), zeros(1, 3, 8).f32(), zeros(1, 3, 8).f32())
	n.refuses(t, "want three axes or four", zeros(3, 8).f32(), q, q)
	n.refuses(t, "input 3 has shape [2,3], want one that spreads over [1,4,3,3]", q, q, q, zeros(2, 3).f32())
	n.refuses(t, "input 4 has shape [1,4,2,3], want [1,4,rows,2]", q, q, q, nil, zeros(1, 4, 2, 3).f32(), zeros(1, 4, 2, 2).f32())
	n.refuses(t, "inputs 4 and 5 hold 2 and 0 rows", q, q, q, nil, zeros(1, 4, 2, 2).f32())
	n.refuses(t, "the length 4, want 0 to 3", q, q, q, nil, nil, nil, list(4).as(tensor.Int64))
	node{op: "Attention", attrs: []*graph.Attribute{graph.Int("qk_matmul_output_mode", 4)}}.refuses(t, "want 0 to 3", q, q, q)
	node{op: "ai.onnx.preview.FlexAttention", attrs: []*graph.Attribute{{Name: "score_mod", Kind: graph.AttrGraph, Graph: &graph.Graph{}}}}.refuses(t, `"score_mod" is not supported`, q, q, q)
}

func TestRotaryEmbedding(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 101))
	x, cos, sin := random(rng, 2, 3, 5, 8), random(rng, 9, 3), random(rng, 9, 3)
	ids := zeros(2, 5)
	for i := range ids.v {
		ids.v[i] = float64(rng.IntN(9))
	}
	for interleaved := range int64(2) {
		want := zeros(x.shape...)
		copy(want.v, x.v)
		each([]int{2, 3, 5, 3}, func(i []int) {
			a, b := i[3], i[3]+3
			if interleaved == 1 {
				a, b = 2*i[3], 2*i[3]+1
			}
			p := int(ids.at(i[0], i[2]))
			c, s := cos.at(p, i[3]), sin.at(p, i[3])
			u, v := x.at(i[0], i[1], i[2], a), x.at(i[0], i[1], i[2], b)
			*want.ref(i[0], i[1], i[2], a), *want.ref(i[0], i[1], i[2], b) = c*u-s*v, s*u+c*v
		})
		attrs := []*graph.Attribute{graph.Int("interleaved", interleaved), graph.Int("rotary_embedding_dim", 6), graph.Int("num_heads", 3)}
		n := node{op: "RotaryEmbedding", attrs: attrs}
		for _, d := range floatTypes {
			same(t, "four axes", n.must(t, x.as(d), cos.as(d), sin.as(d), ids.as(tensor.Int64))[0], d, want)
			same(t, "three axes", n.must(t, flat(x).as(d), cos.as(d), sin.as(d), ids.as(tensor.Int64))[0], d, flat(want))
		}
		// tables that are picked already
		pickedCos, pickedSin := zeros(2, 5, 3), zeros(2, 5, 3)
		each(pickedCos.shape, func(i []int) {
			*pickedCos.ref(i...), *pickedSin.ref(i...) = cos.at(int(ids.at(i[0], i[1])), i[2]), sin.at(int(ids.at(i[0], i[1])), i[2])
		})
		same(t, "picked tables", n.must(t, x.f32(), pickedCos.f32(), pickedSin.f32())[0], tensor.Float32, want)
		n.refuses(t, "input 1 has shape [9,3], want [2,5,3]", x.f32(), cos.f32(), sin.f32())
		ids.v[0] = 9
		n.refuses(t, "the position 9, want less than 9", x.f32(), cos.f32(), sin.f32(), ids.as(tensor.Int64))
		ids.v[0] = 0
	}
	node{op: "RotaryEmbedding"}.refuses(t, "number of heads is not given", zeros(1, 2, 8).f32(), cos.f32(), sin.f32())
	node{op: "RotaryEmbedding", attrs: []*graph.Attribute{graph.Int("rotary_embedding_dim", 5)}}.refuses(t, "want an even number", x.f32(), cos.f32(), sin.f32())
}

func TestLinearAttentionIsItsRecurrence(t *testing.T) {
	const batch, tokens, heads, kvHeads, size, vSize = 2, 4, 4, 2, 3, 5
	for n, rule := range []string{"linear", "gated", "delta", "gated_delta"} {
		for variant := range 2 {
			rng := rand.New(rand.NewPCG(6, uint64(n)))
			q, k, v := random(rng, batch, heads, tokens, size), random(rng, batch, kvHeads, tokens, size), random(rng, batch, kvHeads, tokens, vSize)
			state := random(rng, batch, kvHeads, size, vSize)
			var decay, beta *array
			gated, delta := n == 1 || n == 3, n > 1
			decays, betas := kvHeads, 1 // how many there are for each token
			if variant == 1 {
				decays, betas = kvHeads*size, kvHeads
			}
			if gated {
				decay = random(rng, batch, tokens, decays)
			}
			if delta {
				beta = random(rng, batch, tokens, betas)
			}
			now, y := zeros(state.shape...), zeros(batch, heads, tokens, vSize)
			copy(now.v, state.v)
			for b := range batch {
				for h := range kvHeads {
					for i := range tokens {
						for m := range vSize {
							for d := range size {
								if gated {
									*now.ref(b, h, d, m) *= math.Exp(decay.at(b, i, (h*size+d)*decays/(kvHeads*size)))
								}
							}
							write, seen := v.at(b, h, i, m), 0.0
							for d := range size {
								seen += now.at(b, h, d, m) * k.at(b, h, i, d)
							}
							if delta {
								write = beta.at(b, i, h*betas/kvHeads) * (write - seen)
							}
							for d := range size {
								*now.ref(b, h, d, m) += k.at(b, h, i, d) * write
								for g := range heads / kvHeads {
									*y.ref(b, h*heads/kvHeads+g, i, m) += 0.5 * q.at(b, h*heads/kvHeads+g, i, d) * now.at(b, h, d, m)
								}
							}
						}
					}
				}
			}
			attrs := []*graph.Attribute{graph.Str("update_rule", rule), graph.Int("q_num_heads", heads), graph.Int("kv_num_heads", kvHeads), graph.Float("scale", 0.5)}
			op := node{op: "LinearAttention", opset: 27, outs: 2, attrs: attrs}
			got := op.must(t, flat(q).f32(), flat(k).f32(), flat(v).f32(), state.f32(), decay.as(tensor.Float32), beta.as(tensor.Float32))
			same(t, rule, got[0], tensor.Float32, flat(y))
			same(t, rule+", state", got[1], tensor.Float32, now)
			if n == 0 {
				op.refuses(t, "the update rule wants false", flat(q).f32(), flat(k).f32(), flat(v).f32(), nil, zeros(1).f32())
			}
		}
	}
	node{op: "LinearAttention", opset: 27}.refuses(t, "num_heads\" is missing", zeros(1).f32())
}

func TestCausalConvWithStateGoesOnWhereItStopped(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 10))
	x, w, b := random(rng, 2, 3, 9), random(rng, 3, 1, 4), random(rng, 3)
	want := zeros(2, 3, 9)
	each(want.shape, func(i []int) {
		sum := b.v[i[1]]
		for k := range 4 {
			sum += w.at(i[1], 0, k) * x.at(i[0], i[1], i[2]-3+k)
		}
		*want.ref(i...) = sum * logistic(sum)
	})
	part := func(a *array, lo, hi int) *array {
		out := zeros(2, 3, hi-lo)
		each(out.shape, func(i []int) { *out.ref(i...) = a.at(i[0], i[1], lo+i[2]) })
		return out
	}
	n := node{op: "CausalConvWithState", opset: 27, outs: 2, attrs: []*graph.Attribute{graph.Str("activation", "silu")}}
	var state *kernel.Tensor
	for _, cut := range [][2]int{{0, 1}, {1, 3}, {3, 9}} {
		got := n.must(t, part(x, cut[0], cut[1]).f32(), w.f32(), b.f32(), state)
		same(t, fmt.Sprint(cut), got[0], tensor.Float32, part(want, cut[0], cut[1]))
		state = got[1]
	}
	same(t, "state", state, tensor.Float32, part(x, 6, 9))
	n.refuses(t, "input 1 has shape [3,2,4], want [3,1,taps]", x.f32(), zeros(3, 2, 4).f32())
	n.refuses(t, "input 3 has shape [2,3,4], want [2,3,3]", x.f32(), w.f32(), nil, zeros(2, 3, 4).f32())
}
