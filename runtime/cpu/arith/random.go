package arith

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeRandom is the Maker of RandomNormal, RandomUniform and their Like forms.
func makeRandom(normal, like bool) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		want := attrs{"dtype": graph.AttrInt, "seed": graph.AttrFloat}
		if normal {
			want["mean"], want["scale"] = graph.AttrFloat, graph.AttrFloat
		} else {
			want["low"], want["high"] = graph.AttrFloat, graph.AttrFloat
		}
		if !like {
			want["shape"] = graph.AttrInts
		}
		if err := check(s, want); err != nil {
			return nil, err
		}
		d, err := typeAttr(s, "dtype")
		if err != nil {
			return nil, err
		}
		if d != tensor.Undefined && !isFloat(d) {
			return nil, fmt.Errorf("attribute \"dtype\" is %s, want a float type", d)
		}
		draw := (*twister).normal
		base, span := number(s, "mean", 0), number(s, "scale", 1)
		if !normal {
			draw = (*twister).uniform
			base = number(s, "low", 0)
			span = number(s, "high", 1) - base
		}
		var fixed []int
		if !like {
			dims, ok := s.Node.AttrInts("shape")
			if !ok {
				return nil, fmt.Errorf("attribute \"shape\" is missing")
			}
			for _, n := range dims {
				fixed = append(fixed, int(n))
			}
			if d == tensor.Undefined {
				d = tensor.Float32
			}
		}
		start := source(s)
		return func(c *kernel.Call) error {
			to, shape := d, fixed
			if like {
				x, err := c.Tensor(0)
				if err != nil {
					return err
				}
				shape = x.Shape
				if to == tensor.Undefined {
					to = x.DType
				}
				if !isFloat(to) {
					return typeError(0, to)
				}
			}
			r := start()
			return fill(c, to, shape, func() float64 { return base + draw(r)*span })
		}, nil
	}
}

// fill makes output 0 of numbers that draw gives, one after the other.
func fill(c *kernel.Call, d tensor.DType, shape []int, draw func() float64) error {
	out, err := c.New(0, d, shape)
	if err != nil {
		return err
	}
	buf := conversions.Get().(*buffers)
	defer conversions.Put(buf)
	for lo, n := 0, out.Len(); lo < n; lo += chunk {
		v := buf.f64[:min(chunk, n-lo)]
		for i := range v {
			v[i] = draw()
		}
		storeFloat64(out, lo, v, buf, narrowing{})
	}
	return nil
}

// makeBernoulli makes Bernoulli: 1 with the probability that the input has, else 0.
func makeBernoulli(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"dtype": graph.AttrInt, "seed": graph.AttrFloat}); err != nil {
		return nil, err
	}
	d, err := typeAttr(s, "dtype")
	if err != nil {
		return nil, err
	}
	if d != tensor.Undefined && !castable(d) {
		return nil, fmt.Errorf("attribute \"dtype\" is %s, want a number type", d)
	}
	start := source(s)
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if !isFloat(x.DType) {
			return typeError(0, x.DType)
		}
		to := d
		if to == tensor.Undefined {
			to = x.DType
		}
		p, err := asType(c, x, tensor.Float64)
		if err != nil {
			return err
		}
		defer kernel.Release(p)
		probability, r := kernel.Of[float64](p), start()
		i := -1
		return fill(c, to, x.Shape, func() float64 {
			i++
			return float64(truth(r.uniform() < probability[i]))
		})
	}, nil
}

// makeMultinomial makes Multinomial: for each row of unnormalized log-probabilities, sample_size classes.
func makeMultinomial(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"dtype": graph.AttrInt, "seed": graph.AttrFloat, "sample_size": graph.AttrInt}); err != nil {
		return nil, err
	}
	d, err := typeAttr(s, "dtype")
	if err != nil {
		return nil, err
	}
	if d == tensor.Undefined {
		d = tensor.Int32
	}
	if d != tensor.Int32 && d != tensor.Int64 {
		return nil, fmt.Errorf("attribute \"dtype\" is %s, want int32 or int64", d)
	}
	samples := s.Node.AttrInt("sample_size", 1)
	if samples < 1 {
		return nil, fmt.Errorf("attribute \"sample_size\" is %d, want at least 1", samples)
	}
	start := source(s)
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if !isFloat(x.DType) {
			return typeError(0, x.DType)
		}
		if len(x.Shape) != 2 || x.Shape[1] == 0 {
			return fmt.Errorf("input 0 is %s, want [batch,classes]", x)
		}
		scores, err := asType(c, x, tensor.Float64)
		if err != nil {
			return err
		}
		defer kernel.Release(scores)
		classes := x.Shape[1]
		r, v := start(), kernel.Of[float64](scores)
		upTo := make([]float64, classes)
		n := 0
		return fill(c, d, []int{x.Shape[0], int(samples)}, func() float64 {
			if n%int(samples) == 0 {
				row := v[n/int(samples)*classes:][:classes]
				most, sum := maxRow(row[0], row), 0.0
				for i, s := range row {
					sum += math.Exp(s - most)
					upTo[i] = sum
				}
			}
			n++
			at := r.uniform() * upTo[classes-1]
			for i, u := range upTo {
				if at < u {
					return float64(i)
				}
			}
			return float64(classes - 1)
		})
	}, nil
}

// randoms are the operators that draw numbers.
func randoms() kernel.Table {
	return kernel.Table{
		"RandomNormal":      makeRandom(true, false),
		"RandomNormalLike":  makeRandom(true, true),
		"RandomUniform":     makeRandom(false, false),
		"RandomUniformLike": makeRandom(false, true),
		"Bernoulli":         makeBernoulli,
		"Multinomial":       makeMultinomial,
		"Dropout":           makeDropout,
	}
}
