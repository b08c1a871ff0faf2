package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// columnsOf is columns [lo, hi) of a's last axis, as [batch, heads, rows, size].
func columnsOf(a *array, lo, hi, heads int) *array {
	out := zeros(a.shape[0], heads, a.shape[1], (hi-lo)/heads)
	each(out.shape, func(i []int) { *out.ref(i...) = a.at(i[0], i[2], lo+i[1]*out.shape[3]+i[3]) })
	return out
}

func TestFusedAttentionIsProjectionAndAttention(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	const batch, rows, size, heads, past = 2, 3, 6, 2, 4
	x, w, b := random(rng, batch, rows, size), random(rng, size, 20), random(rng, 20)
	for i := range w.v {
		w.v[i] /= 4
	}
	qkv := zeros(batch, rows, 20)
	each(qkv.shape, func(i []int) {
		sum := b.v[i[2]]
		for k := range size {
			sum += x.at(i[0], i[1], k) * w.at(k, i[2])
		}
		*qkv.ref(i...) = sum
	})
	sizes := graph.Ints("qkv_hidden_sizes", 8, 8, 4)
	q, k, v := columnsOf(qkv, 0, 8, heads), columnsOf(qkv, 8, 16, heads), columnsOf(qkv, 16, 20, heads)
	scale := 0.5
	mask := &array{[]int{batch, rows}, []float64{1, 1, 0, 0, 1, 1}}
	for name, c := range map[string]struct {
		mask *array
		kept func(b, i, j int) bool
	}{
		"no mask":         {nil, func(b, i, j int) bool { return true }},
		"keys":            {mask, func(b, _, j int) bool { return mask.at(b, j) != 0 }},
		"lengths":         {list(2, 3), func(b, _, j int) bool { return j < 2+b }},
		"ends and starts": {list(2, 3, 0, 1), func(b, _, j int) bool { return j < 2+b && j >= b }},
		"queries and keys": {&array{[]int{batch, rows, rows}, []float64{1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1}}, func(b, i, j int) bool {
			return []int{1, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1}[(b*rows+i)*rows+j] != 0
		}},
		"the sign for none": {zeros(batch, 1), func(b, i, j int) bool { return true }},
	} {
		want, _ := reference(q, k, v, scale, 0, func(b, _, i, j int) float64 {
			if !c.kept(b, i, j) {
				return -10000
			}
			return 0
		})
		n := node{op: "com.microsoft.Attention", opset: 1, attrs: []*graph.Attribute{graph.Int("num_heads", heads), sizes}}
		got := n.must(t, x.f32(), w.f32(), b.f32(), c.mask.as(tensor.Int32))
		same(t, name, got[0], tensor.Float32, flat(want))
		n.constant = true
		bits(t, name+", packed", n.must(t, x.f32(), w.f32(), b.f32(), c.mask.as(tensor.Int32))[0], got[0])
	}

	// with a cache, looking back only, and numbers to add
	w, b = &array{[]int{size, 24}, random(rng, size, 24).v}, random(rng, 24)
	qkv = zeros(batch, rows, 24)
	each(qkv.shape, func(i []int) {
		sum := b.v[i[2]]
		for k := range size {
			sum += x.at(i[0], i[1], k) * w.at(k, i[2])
		}
		*qkv.ref(i...) = sum
	})
	cache, add := random(rng, 2, batch, heads, past, 4), random(rng, 1, heads, rows, past+rows)
	half := len(cache.v) / 2
	oldK, oldV := &array{cache.shape[1:], cache.v[:half]}, &array{cache.shape[1:], cache.v[half:]}
	q, k, v = columnsOf(qkv, 0, 8, heads), behind(oldK, columnsOf(qkv, 8, 16, heads)), behind(oldV, columnsOf(qkv, 16, 24, heads))
	want, _ := reference(q, k, v, 0.25, 0, func(_, h, i, j int) float64 {
		if j > past+i {
			return math.Inf(-1)
		}
		return add.at(0, h, i, j)
	})
	attrs := []*graph.Attribute{graph.Int("num_heads", heads), graph.Int("unidirectional", 1), graph.Float("scale", 0.25)}
	got := node{op: "com.microsoft.Attention", opset: 1, outs: 2, attrs: attrs}.must(t, x.f32(), w.f32(), b.f32(), nil, cache.f32(), add.f32())
	same(t, "with a cache", got[0], tensor.Float32, flat(want))
	same(t, "cache", got[1], tensor.Float32, &array{[]int{2, batch, heads, past + rows, 4}, append(append([]float64{}, k.v...), v.v...)})

	n := node{op: "com.microsoft.Attention", opset: 1, attrs: attrs}
	n.refuses(t, "want [batch,length,size] and [size,3·hidden]", x.f32(), zeros(5, 24).f32())
	n.refuses(t, "input 3 has shape [5], want [2]", x.f32(), w.f32(), b.f32(), zeros(5).as(tensor.Int32))
	n.refuses(t, "input 4 has shape [2,2,2,4,3]", x.f32(), w.f32(), b.f32(), nil, zeros(2, 2, 2, 4, 3).f32())
	node{op: "com.microsoft.Attention", opset: 1}.refuses(t, `"num_heads" is missing`, x.f32(), w.f32())
	node{op: "com.microsoft.Attention", opset: 1, attrs: append(attrs, graph.Int("do_rotary", 1))}.refuses(t, `"do_rotary" is not supported`, x.f32(), w.f32())
}

func TestMultiHeadAttentionInAllItsForms(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 2))
	const batch, heads, rows, keys, size, vSize = 2, 3, 4, 5, 2, 6
	q, k, v := random(rng, batch, heads, rows, size), random(rng, batch, heads, keys, size), random(rng, batch, heads, keys, vSize)
	zero := func(_, _, _, _ int) float64 { return 0 }
	scale := 1 / math.Sqrt(size)
	attrs := []*graph.Attribute{graph.Int("num_heads", heads)}
	n := node{op: "com.microsoft.MultiHeadAttention", opset: 1, attrs: attrs}

	want, _ := reference(q, k, v, scale, 0, zero)
	same(t, "apart", n.must(t, flat(q).f32(), flat(k).f32(), flat(v).f32())[0], tensor.Float32, flat(want))
	same(t, "keys as heads", n.must(t, flat(q).f32(), k.f32(), v.f32())[0], tensor.Float32, flat(want))

	bias := random(rng, heads*(2*size+vSize))
	moved := func(a *array, from int) *array {
		out := zeros(a.shape...)
		each(a.shape, func(i []int) { *out.ref(i...) = a.at(i...) + bias.v[from+i[1]*a.shape[3]+i[3]] })
		return out
	}
	movedQ := moved(q, 0)
	want, _ = reference(movedQ, moved(k, heads*size), moved(v, 2*heads*size), scale, 0, zero)
	same(t, "with a bias", n.must(t, flat(q).f32(), flat(k).f32(), flat(v).f32(), bias.f32())[0], tensor.Float32, flat(want))
	want, _ = reference(movedQ, k, v, scale, 0, zero)
	same(t, "with a bias of Q alone", n.must(t, flat(q).f32(), k.f32(), v.f32(), bias.f32())[0], tensor.Float32, flat(want))

	// packed forms, all of one size
	k2, v2 := random(rng, batch, heads, rows, size), random(rng, batch, heads, rows, size)
	qkv, kv := zeros(batch, rows, heads, 3, size), zeros(batch, rows, heads, 2, size)
	each(qkv.shape, func(i []int) { *qkv.ref(i...) = []*array{q, k2, v2}[i[3]].at(i[0], i[2], i[1], i[4]) })
	each(kv.shape, func(i []int) { *kv.ref(i...) = []*array{k2, v2}[i[3]].at(i[0], i[2], i[1], i[4]) })
	want, _ = reference(q, k2, v2, scale, 0, zero)
	same(t, "all packed", n.must(t, qkv.f32())[0], tensor.Float32, flat(want))
	same(t, "keys and values packed", n.must(t, flat(q).f32(), kv.f32())[0], tensor.Float32, flat(want))

	pastK, pastV := random(rng, batch, heads, 3, size), random(rng, batch, heads, 3, vSize)
	allK, allV := behind(pastK, k), behind(pastV, v)
	want, _ = reference(q, allK, allV, scale, 0, zero)
	n.outs = 3
	got := n.must(t, flat(q).f32(), flat(k).f32(), flat(v).f32(), nil, nil, nil, pastK.f32(), pastV.f32())
	same(t, "with a cache", got[0], tensor.Float32, flat(want))
	same(t, "keys", got[1], tensor.Float32, allK)
	same(t, "values", got[2], tensor.Float32, allV)

	n.refuses(t, "want [batch,rows,3,3,size]", zeros(1, 2, 3, 2, 4).f32())
	n.refuses(t, "do not fit", flat(q).f32(), k.f32(), v2.f32())
	n.refuses(t, "input 8 is not supported", flat(q).f32(), k.f32(), v.f32(), nil, nil, nil, nil, nil, list(1).as(tensor.Int32))
}

func TestFusedMatMul(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 3))
	for _, c := range []struct {
		name           string
		a, b           []int // as stored
		orderA, orderB []int // axes that make them [batch..., rows, cols]
		attrs          []string
		out            []int
	}{
		{"plain", []int{3, 4}, []int{4, 5}, []int{0, 1}, []int{0, 1}, nil, []int{3, 5}},
		{"transposed", []int{2, 4, 3}, []int{2, 5, 4}, []int{0, 2, 1}, []int{0, 2, 1}, []string{"transA", "transB"}, []int{2, 3, 5}},
		{"batch behind", []int{3, 2, 4}, []int{4, 2, 5}, []int{1, 0, 2}, []int{1, 0, 2}, []string{"transBatchA", "transBatchB"}, []int{2, 3, 5}},
		{"both", []int{4, 2, 3}, []int{2, 4, 5}, []int{1, 2, 0}, []int{0, 1, 2}, []string{"transBatchA", "transA"}, []int{2, 3, 5}},
		{"spread", []int{2, 1, 3, 4}, []int{6, 4, 5}, []int{0, 1, 2, 3}, []int{0, 1, 2}, nil, []int{2, 6, 3, 5}},
	} {
		a, b := random(rng, c.a...), random(rng, c.b...)
		left, right := swap(a, c.orderA...), swap(b, c.orderB...)
		want := zeros(c.out...)
		n := len(c.out)
		each(c.out, func(o []int) {
			sum := 0.0
			for k := range 4 {
				l, r := make([]int, len(left.shape)), make([]int, len(right.shape))
				for i := range left.shape[:len(l)-2] {
					l[i] = min(o[n-len(l)+i], left.shape[i]-1)
				}
				for i := range right.shape[:len(r)-2] {
					r[i] = min(o[n-len(r)+i], right.shape[i]-1)
				}
				l[len(l)-2], l[len(l)-1], r[len(r)-2], r[len(r)-1] = o[n-2], k, k, o[n-1]
				sum += left.at(l...) * right.at(r...)
			}
			*want.ref(o...) = 3 * sum
		})
		attrs := []*graph.Attribute{graph.Float("alpha", 3)}
		for _, name := range c.attrs {
			attrs = append(attrs, graph.Int(name, 1))
		}
		for _, d := range floatTypes {
			same(t, c.name, node{op: "com.microsoft.FusedMatMul", opset: 1, attrs: attrs}.must(t, a.as(d), b.as(d))[0], d, want)
		}
	}
	n := node{op: "com.microsoft.FusedMatMul", opset: 1}
	x := random(rng, 4)
	dotted := 0.0
	for _, v := range x.v {
		dotted += v * v
	}
	same(t, "vectors", n.must(t, x.f32(), x.f32())[0], tensor.Float32, &array{[]int{}, []float64{dotted}})
	n.refuses(t, "a product of [2,3] and [4,5]", zeros(2, 3).f32(), zeros(4, 5).f32())
	n.refuses(t, "do not broadcast", zeros(2, 3, 4).f32(), zeros(3, 4, 5).f32())
}
