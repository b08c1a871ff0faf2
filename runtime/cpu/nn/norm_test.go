package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// moments are the mean and the variance.
func moments(v []float64) (mean, variance float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		variance += (x - mean) * (x - mean) / float64(len(v))
	}
	return mean, variance
}

func TestLayerAndRMSNormalization(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	x := random(rng, 2, 3, 4, 5)
	for _, c := range []struct {
		axis        int64
		scale, bias *array
	}{
		{-1, random(rng, 5), random(rng, 5)}, {1, random(rng, 3, 4, 5), random(rng, 3, 4, 5)}, {2, random(rng, 4, 5), nil},
		{-2, random(rng, 5), random(rng, 4, 1)}, {3, random(rng, 1, 3, 1, 5), random(rng, 1)}, {0, random(rng, 2, 3, 4, 5), nil},
	} {
		axis := int(c.axis+4) % 4
		size := kernel.Count(x.shape[axis:])
		layer, rms := zeros(x.shape...), zeros(x.shape...)
		mean := zeros(append(append([]int{}, x.shape[:axis]...), make([]int, 4-axis)...)...)
		for i := axis; i < 4; i++ {
			mean.shape[i] = 1
		}
		mean.v = make([]float64, 120/size)
		inverse := &array{mean.shape, make([]float64, 120/size)}
		spreadOver := func(a *array, index []int) float64 {
			at := make([]int, len(a.shape))
			for i, n := range a.shape {
				if n > 1 {
					at[i] = index[len(index)-len(a.shape)+i]
				}
			}
			return a.at(at...)
		}
		each(x.shape, func(i []int) {
			p := x.place(i)
			row := x.v[p/size*size:][:size]
			m, v := moments(row)
			square := v + m*m
			b := 0.0
			if c.bias != nil {
				b = spreadOver(c.bias, i)
			}
			s := spreadOver(c.scale, i)
			mean.v[p/size], inverse.v[p/size] = m, 1/math.Sqrt(v+0.5)
			layer.v[p] = (x.v[p]-m)/math.Sqrt(v+0.5)*s + b
			rms.v[p] = x.v[p] / math.Sqrt(square+0.5) * s
		})
		attrs := []*graph.Attribute{graph.Int("axis", c.axis), graph.Float("epsilon", 0.5)}
		for _, d := range floatTypes {
			got := node{op: "LayerNormalization", outs: 3, attrs: attrs}.must(t, x.as(d), c.scale.as(d), c.bias.as(d))
			same(t, "layer, "+d.String(), got[0], d, layer)
			same(t, "mean", got[1], tensor.Float32, mean)
			same(t, "inverse deviation", got[2], tensor.Float32, inverse)
			same(t, "rms, "+d.String(), node{op: "RMSNormalization", attrs: attrs}.must(t, x.as(d), c.scale.as(d))[0], d, rms)
		}
	}
	n := node{op: "LayerNormalization"}
	n.refuses(t, "input 1 has shape [4], want one that spreads over [2,3,4,5]", x.f32(), zeros(4).f32())
	n.refuses(t, "input 1 is missing", x.f32())
	node{op: "LayerNormalization", attrs: []*graph.Attribute{graph.Int("axis", 4)}}.refuses(t, "axis 4, want -4 to 3", x.f32(), zeros(5).f32())
	node{op: "RMSNormalization", attrs: []*graph.Attribute{graph.Int("stash_type", 6)}}.refuses(t, "want a float type", x.f32(), zeros(5).f32())
}

func TestARowOfLayerNormalizationDependsOnItselfAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 2))
	x, s := random(rng, 300, 77), random(rng, 77)
	all := node{op: "LayerNormalization", threads: 3}.must(t, x.f32(), s.f32())[0]
	for _, row := range []int{0, 123, 299} {
		one := &array{[]int{1, 77}, x.v[row*77:][:77]}
		got := node{op: "LayerNormalization", threads: 1}.must(t, one.f32(), s.f32())[0]
		if string(got.Bytes) != string(all.Bytes[row*77*4:][:77*4]) {
			t.Errorf("row %d alone has other bits", row)
		}
	}
}

func TestBatchNormalization(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	x, scale, bias, mean, variance := random(rng, 3, 4, 5, 2), random(rng, 4), random(rng, 4), random(rng, 4), random(rng, 4)
	for i, v := range variance.v {
		variance.v[i] = math.Abs(v)
	}
	y, trained, nextMean, nextVar, batchMean, batchVar := zeros(x.shape...), zeros(x.shape...), zeros(4), zeros(4), zeros(4), zeros(4)
	for c := range 4 {
		var all []float64
		for n := range 3 {
			all = append(all, x.v[(n*4+c)*10:][:10]...)
		}
		batchMean.v[c], batchVar.v[c] = moments(all)
		nextMean.v[c] = mean.v[c]*0.75 + batchMean.v[c]*0.25
		nextVar.v[c] = variance.v[c]*0.75 + batchVar.v[c]*0.25
	}
	each(x.shape, func(i []int) {
		c := i[1]
		*y.ref(i...) = (x.at(i...)-mean.v[c])/math.Sqrt(variance.v[c]+0.125)*scale.v[c] + bias.v[c]
		*trained.ref(i...) = (x.at(i...)-batchMean.v[c])/math.Sqrt(batchVar.v[c]+0.125)*scale.v[c] + bias.v[c]
	})
	attrs := []*graph.Attribute{graph.Float("epsilon", 0.125), graph.Float("momentum", 0.75)}
	for _, d := range floatTypes {
		in := []*kernel.Tensor{x.as(d), scale.as(d), bias.as(d), mean.as(d), variance.as(d)}
		for _, opset := range []int64{7, 9, 14, 15} {
			same(t, d.String(), node{op: "BatchNormalization", opset: opset, attrs: attrs}.must(t, in...)[0], d, y)
		}
		got := node{op: "BatchNormalization", opset: 15, outs: 3, attrs: append(attrs, graph.Int("training_mode", 1))}.must(t, in...)
		for i, want := range []*array{trained, nextMean, nextVar} {
			same(t, "training", got[i], d, want)
		}
		got = node{op: "BatchNormalization", opset: 9, outs: 5, attrs: attrs}.must(t, in...)
		for i, want := range []*array{trained, nextMean, nextVar, batchMean, batchVar} {
			same(t, "training of opset 9", got[i], d, want)
		}
	}
	// statistics of their own for every element of an image
	per := zeros(x.shape...)
	p := [4]*array{random(rng, 4, 5, 2), random(rng, 4, 5, 2), random(rng, 4, 5, 2), random(rng, 4, 5, 2)}
	for i, v := range x.v {
		j := i % 40
		p[3].v[j] = math.Abs(p[3].v[j])
		per.v[i] = (v-p[2].v[j])/math.Sqrt(p[3].v[j]+0.125)*p[0].v[j] + p[1].v[j]
	}
	got := node{op: "BatchNormalization", opset: 7, attrs: append(attrs, graph.Int("spatial", 0))}.must(t, x.f32(), p[0].f32(), p[1].f32(), p[2].f32(), p[3].f32())
	same(t, "not spatial", got[0], tensor.Float32, per)
	node{op: "BatchNormalization"}.refuses(t, "input 3 has shape [3], want [4]", x.f32(), scale.f32(), bias.f32(), zeros(3).f32(), variance.f32())
	node{op: "BatchNormalization"}.refuses(t, "input 4 is missing", x.f32(), scale.f32(), bias.f32(), mean.f32())
	node{op: "BatchNormalization", opset: 9, attrs: []*graph.Attribute{graph.Int("spatial", 1)}}.refuses(t, `"spatial" is not known`, x.f32())
}

func TestInstanceAndGroupNormalization(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	x := random(rng, 2, 6, 3, 4)
	scale, bias := random(rng, 6), random(rng, 6)
	// normalized over groups of channels, with parameters for each channel or each group
	want := func(per int, parameter func(channel int) int) *array {
		y := zeros(x.shape...)
		for i, v := range x.v {
			m, s := moments(x.v[i/(per*12)*per*12:][:per*12])
			c := parameter(i / 12 % 6)
			y.v[i] = (v-m)/math.Sqrt(s+1e-5)*scale.v[c] + bias.v[c]
		}
		return y
	}
	own := func(c int) int { return c }
	for _, d := range floatTypes {
		same(t, "instance", node{op: "InstanceNormalization"}.must(t, x.as(d), scale.as(d), bias.as(d))[0], d, want(1, own))
		groups := []*graph.Attribute{graph.Int("num_groups", 3)}
		same(t, "group 21", node{op: "GroupNormalization", opset: 21, attrs: groups}.must(t, x.as(d), scale.as(d), bias.as(d))[0], d, want(2, own))
		few, fewBias := list(scale.v[:3]...), list(bias.v[:3]...)
		same(t, "group 18", node{op: "GroupNormalization", opset: 18, attrs: groups}.must(t, x.as(d), few.as(d), fewBias.as(d))[0], d, want(2, func(c int) int { return c / 2 }))
	}
	node{op: "GroupNormalization", opset: 21, attrs: []*graph.Attribute{graph.Int("num_groups", 4)}}.refuses(t, "4 groups do not divide 6 channels", x.f32(), scale.f32(), bias.f32())
	node{op: "GroupNormalization", opset: 21}.refuses(t, `"num_groups" is missing`, x.f32(), scale.f32(), bias.f32())
	node{op: "InstanceNormalization"}.refuses(t, "input 2 has shape [5], want [6]", x.f32(), scale.f32(), zeros(5).f32())
}

func TestLRN(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	x := random(rng, 2, 7, 3, 2)
	for size := 1; size < 6; size++ {
		want := zeros(x.shape...)
		each(x.shape, func(i []int) {
			sum := 0.0
			for c := i[1] - (size-1)/2; c <= i[1]+size/2; c++ {
				v := x.at(i[0], c, i[2], i[3])
				sum += v * v
			}
			*want.ref(i...) = x.at(i...) / math.Pow(2+0.5/float64(size)*sum, 0.75)
		})
		attrs := []*graph.Attribute{graph.Int("size", int64(size)), graph.Float("alpha", 0.5), graph.Float("bias", 2)}
		for _, d := range floatTypes {
			same(t, d.String(), node{op: "LRN", attrs: attrs}.must(t, x.as(d))[0], d, want)
		}
	}
	node{op: "LRN"}.refuses(t, `"size" is missing`, x.f32())
}

func TestSkipLayerNormalization(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 6))
	x, skip, gamma, beta, bias := random(rng, 2, 3, 8), random(rng, 3, 8), random(rng, 8), random(rng, 8), random(rng, 8)
	sum, layer, rms := zeros(2, 3, 8), zeros(2, 3, 8), zeros(2, 3, 8)
	for i, v := range x.v {
		sum.v[i] = v + skip.v[i%24] + bias.v[i%8]
	}
	for i, v := range sum.v {
		m, s := moments(sum.v[i/8*8:][:8])
		layer.v[i] = (v-m)/math.Sqrt(s+0.5)*gamma.v[i%8] + beta.v[i%8]
		rms.v[i] = v / math.Sqrt(s+m*m+0.5) * gamma.v[i%8]
	}
	attrs := []*graph.Attribute{graph.Float("epsilon", 0.5)}
	got := node{op: "com.microsoft.SkipLayerNormalization", outs: 4, attrs: attrs}.must(t, x.f32(), skip.f32(), gamma.f32(), beta.f32(), bias.f32())
	same(t, "layer", got[0], tensor.Float32, layer)
	same(t, "sum", got[3], tensor.Float32, sum)
	got = node{op: "com.microsoft.SkipSimplifiedLayerNormalization", outs: 4, attrs: attrs}.must(t, x.f32(), skip.f32(), gamma.f32(), bias.f32())
	same(t, "simplified", got[0], tensor.Float32, rms)
	same(t, "sum", got[3], tensor.Float32, sum)
	node{op: "com.microsoft.SkipLayerNormalization"}.refuses(t, "input 1 has shape [2,8], want [2,3,8]", x.f32(), zeros(2, 8).f32(), gamma.f32())

	ids, words, positions := &array{[]int{2, 3}, []float64{0, 3, 1, 2, 2, 0}}, random(rng, 4, 8), random(rng, 5, 8)
	mask := &array{[]int{2, 3}, []float64{1, 1, 0, 1, 1, 1}}
	for i := range sum.v {
		sum.v[i] = words.v[int(ids.v[i/8])*8+i%8] + positions.v[i/8%3*8+i%8]
	}
	for i, v := range sum.v {
		m, s := moments(sum.v[i/8*8:][:8])
		layer.v[i] = (v-m)/math.Sqrt(s+0.5)*gamma.v[i%8] + beta.v[i%8]
	}
	embed := node{op: "com.microsoft.EmbedLayerNormalization", outs: 3, attrs: attrs}
	got = embed.must(t, ids.as(tensor.Int32), nil, words.f32(), positions.f32(), nil, gamma.f32(), beta.f32(), mask.as(tensor.Int32))
	same(t, "embedded", got[0], tensor.Float32, layer)
	same(t, "kept tokens", got[1], tensor.Int32, list(2, 3))
	same(t, "embedding", got[2], tensor.Float32, sum)
	ids.v[4] = 4
	embed.refuses(t, "input 0 holds 4, want 0 to 3", ids.as(tensor.Int32), nil, words.f32(), positions.f32(), nil, gamma.f32(), beta.f32())
}

func TestLosses(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 7))
	x, weight := random(rng, 3, 4, 2, 5), random(rng, 4)
	target := zeros(3, 2, 5)
	for i := range target.v {
		target.v[i] = float64(rng.IntN(4))
	}
	target.v[7] = -1
	logs := zeros(x.shape...)
	each(x.shape, func(i []int) {
		sum := 0.0
		for c := range 4 {
			sum += math.Exp(x.at(i[0], c, i[2], i[3]))
		}
		*logs.ref(i...) = x.at(i...) - math.Log(sum)
	})
	for op, in := range map[string]*array{"NegativeLogLikelihoodLoss": x, "SoftmaxCrossEntropyLoss": logs} {
		for _, w := range []*array{nil, weight} {
			none, total, weights := zeros(target.shape...), 0.0, 0.0
			each(target.shape, func(i []int) {
				c := int(target.at(i...))
				if c < 0 {
					return
				}
				f := 1.0
				if w != nil {
					f = w.v[c]
				}
				*none.ref(i...) = -f * in.at(i[0], c, i[1], i[2])
				total += none.at(i...)
				weights += f
			})
			for reduction, want := range map[string]*array{"none": none, "sum": {[]int{}, []float64{total}}, "mean": {[]int{}, []float64{total / weights}}} {
				attrs := []*graph.Attribute{graph.Str("reduction", reduction), graph.Int("ignore_index", -1)}
				for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
					outs := 1
					if op == "SoftmaxCrossEntropyLoss" {
						outs = 2
					}
					got := node{op: op, outs: outs, attrs: attrs}.must(t, x.as(d), target.as(tensor.Int64), w.as(d))
					same(t, op+", "+reduction, got[0], d, want)
					if outs == 2 {
						same(t, "logarithms", got[1], d, logs)
					}
				}
			}
		}
		node{op: op}.refuses(t, "the class -1, want 0 to 3", x.f32(), target.as(tensor.Int32))
		node{op: op}.refuses(t, "input 1 has shape [3], want [3,2,5]", x.f32(), zeros(3).as(tensor.Int32))
	}
}
