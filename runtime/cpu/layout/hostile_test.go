package layout

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// chaos changes what made sense into what may not.
type chaos struct{ *rand.Rand }

func (r chaos) integer() int64 {
	if r.IntN(4) == 0 {
		return []int64{math.MinInt64, math.MaxInt64, math.MaxInt32, math.MinInt32, 1 << 40, -1 << 40}[r.IntN(6)]
	}
	return int64(r.IntN(12)) - 5
}

func (r chaos) real() float64 {
	if r.IntN(2) == 0 {
		return []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e30, -1e30, 1e-30}[r.IntN(6)]
	}
	return 6*r.Float64() - 2
}

// disturb changes one thing in a copy of the node or of its inputs.
func (r chaos) disturb(o op, in values) (op, values) {
	in = slices.Clone(in)
	k := r.IntN(len(in) + len(o.attrs) + 2)
	switch {
	case k < len(in):
		in[k] = r.value(in[k])
	case k < len(in)+len(o.attrs):
		o.attrs = slices.Clone(o.attrs)
		o.attrs[k-len(in)] = r.attribute(*o.attrs[k-len(in)])
	case k == len(in)+len(o.attrs):
		o.opset = int64(7 + r.IntN(18))
	case len(in) > 0:
		in = in[:len(in)-1]
	}
	return o, in
}

func (r chaos) attribute(a graph.Attribute) *graph.Attribute {
	a.Ints, a.Floats = slices.Clone(a.Ints), slices.Clone(a.Floats)
	a.Int, a.Float = r.integer(), float32(r.real())
	switch {
	case r.IntN(4) == 0:
		a.Ints, a.Floats = append(a.Ints, r.integer()), append(a.Floats, float32(r.real()))
	case r.IntN(4) == 0:
		a.Ints, a.Floats = nil, nil
	default:
		if len(a.Ints) > 0 {
			a.Ints[r.IntN(len(a.Ints))] = r.integer()
		}
		if len(a.Floats) > 0 {
			a.Floats[r.IntN(len(a.Floats))] = float32(r.real())
		}
	}
	return &a
}

func (r chaos) value(v kernel.Value) kernel.Value {
	t, ok := v.(*kernel.Tensor)
	if !ok || r.IntN(12) == 0 {
		return []kernel.Value{nil, count(2), i64(r.integer()), words("x"), &kernel.Optional{}, &kernel.Sequence{}}[r.IntN(6)]
	}
	c := *t
	c.Bytes, c.Strings, c.Shape = slices.Clone(t.Bytes), slices.Clone(t.Strings), slices.Clone(t.Shape)
	n := c.Len()
	switch r.IntN(4) {
	case 0: // another shape
		if len(c.Shape) == 0 || r.IntN(3) == 0 {
			c.Shape = with(c.Shape, r.IntN(len(c.Shape)+1), 1)
		} else {
			c.Shape[r.IntN(len(c.Shape))] = r.IntN(4)
			if len(c.Shape) > 1 && r.IntN(3) == 0 {
				i := r.IntN(len(c.Shape))
				c.Shape[i], c.Shape[(i+1)%len(c.Shape)] = 1<<40, 0
			}
		}
		if c.Len() > 1<<10 {
			return t
		}
		return numbered(c.DType, c.Shape)
	case 1: // one axis less
		if len(c.Shape) > 0 {
			c.Shape = c.Shape[1:]
		}
		if c.Len() > 1<<10 {
			return t
		}
		return numbered(c.DType, c.Shape)
	}
	if n == 0 {
		return &c
	}
	i := r.IntN(n)
	switch c.DType {
	case tensor.Int64:
		kernel.Of[int64](&c)[i] = r.integer()
	case tensor.Float32:
		kernel.Of[float32](&c)[i] = float32(r.real())
	case tensor.String:
		c.Strings[i] = "\xff\x00"
	default:
		c.Bytes[r.IntN(len(c.Bytes))] = byte(r.IntN(256))
	}
	return &c
}

// survives runs an example again and again with one or two things in it changed. Errors are expected; a panic is an index or a size that
// nobody checked.
func survives(t *testing.T, e example) {
	t.Helper()
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	h := fnv.New64()
	fmt.Fprint(h, t.Name())
	r := chaos{rand.New(rand.NewPCG(h.Sum64(), 1))}
	for range rounds {
		o, in := r.disturb(e.op, e.in)
		if r.IntN(2) == 0 {
			o, in = r.disturb(o, in)
		}
		func() {
			defer func() {
				if p := recover(); p != nil {
					said := []string{}
					for _, a := range o.attrs {
						said = append(said, fmt.Sprintf("%s %d %v %g %v %q", a.Name, a.Int, a.Ints, a.Float, a.Floats, a.String))
					}
					for _, v := range in {
						said = append(said, spell(v))
					}
					t.Errorf("%s in opset %d with %q: panic: %v", o.name, o.opset, said, p)
				}
			}()
			_, _ = o.run(in...)
		}()
	}
}
