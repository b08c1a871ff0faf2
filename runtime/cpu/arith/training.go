package arith

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// An optimizer's inputs are the rate, the number of updates so far, then n tensors X, n gradients G, and n of each state; its outputs are n
// new X and n of each new state.

// update computes one element: v holds x, g and the states, and is to hold the new x in place of x and the new states in theirs.
type update func(rate float64, t int64, v []float64)

// optimizer is the Maker of an operator of ai.onnx.preview.training with so many states for each tensor.
func optimizer(states int, want attrs, read func(s *kernel.Site) (update, error)) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		if err := check(s, want); err != nil {
			return nil, err
		}
		f, err := read(s)
		if err != nil {
			return nil, err
		}
		return func(c *kernel.Call) error {
			rate, count, err := operands(c)
			if err != nil {
				return err
			}
			if !isFloat(rate.DType) || rate.Len() != 1 || count.DType != tensor.Int64 || count.Len() != 1 {
				return fmt.Errorf("inputs 0 and 1 are %s and %s, want one float and one int64", rate, count)
			}
			if (len(c.In)-2)%(2+states) != 0 {
				return fmt.Errorf("%d inputs, want 2 and %d for each tensor", len(c.In), 2+states)
			}
			var r [1]float64
			loadFloat64(r[:], rate, 0)
			n := (len(c.In) - 2) / (2 + states)
			for i := range n {
				if err := step(c, f, r[0], kernel.Of[int64](count)[0], i, n, states); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

// step updates tensor i of n.
func step(c *kernel.Call, f update, rate float64, t int64, i, n, states int) error {
	ins := make([]*kernel.Tensor, 2+states)
	for k := range ins {
		at := 2 + i + k*n
		x, err := c.Tensor(at)
		if err != nil {
			return err
		}
		if x.DType != tensor.Float32 && x.DType != tensor.Float64 {
			return typeError(at, x.DType)
		}
		if ins[k] = x; x.Len() != ins[0].Len() {
			return fmt.Errorf("input %d is %s, want the shape of %s", at, x, ins[0])
		}
	}
	outs := make([]*kernel.Tensor, 1+states)
	for k := range outs {
		from := ins[0]
		if k > 0 {
			from = ins[1+k]
		}
		at := i + k*n
		out, err := c.Mem.New(from.DType, from.Shape)
		if err != nil {
			return err
		}
		if outs[k] = out; at < len(c.Out) {
			c.Out[at] = out
		} else {
			defer kernel.Release(out)
		}
	}
	c.Pool.For(ins[0].Len(), grain, func(lo, hi int) {
		buf := conversions.Get().(*buffers)
		defer conversions.Put(buf)
		columns := make([][]float64, len(ins))
		for k := range columns {
			columns[k] = make([]float64, chunk)
		}
		v := make([]float64, len(ins))
		for ; lo < hi; lo += chunk {
			m := min(chunk, hi-lo)
			for k, t := range ins {
				loadFloat64(columns[k][:m], t, lo)
			}
			for j := range m {
				for k := range v {
					v[k] = columns[k][j]
				}
				f(rate, t, v)
				for k := range v {
					columns[k][j] = v[k]
				}
			}
			for k, t := range outs {
				from := columns[0]
				if k > 0 {
					from = columns[1+k]
				}
				storeFloat64(t, lo, from[:m], buf, narrowing{})
			}
		}
	})
	return nil
}

func readAdagrad(s *kernel.Site) (update, error) {
	decay, epsilon, norm := number(s, "decay_factor", 0), number(s, "epsilon", 1e-6), number(s, "norm_coefficient", 0)
	return func(rate float64, t int64, v []float64) {
		g := norm*v[0] + v[1]
		v[2] += float64(g * g)
		v[0] -= rate / (1 + float64(t)*decay) * g / (math.Sqrt(v[2]) + epsilon)
	}, nil
}

func readAdam(s *kernel.Site) (update, error) {
	alpha, beta, epsilon := number(s, "alpha", 0.9), number(s, "beta", 0.999), number(s, "epsilon", 1e-6)
	norm, post := number(s, "norm_coefficient", 0), number(s, "norm_coefficient_post", 0)
	return func(rate float64, t int64, v []float64) {
		g := norm*v[0] + v[1]
		v[2] = float64(alpha*v[2]) + float64((1-alpha)*g)
		v[3] = float64(beta*v[3]) + float64((1-beta)*g*g)
		if t > 0 {
			rate *= math.Sqrt(1-math.Pow(beta, float64(t))) / (1 - math.Pow(alpha, float64(t)))
		}
		v[0] = (1 - post) * (v[0] - rate*(v[2]/(math.Sqrt(v[3])+epsilon)))
	}, nil
}

func readMomentum(s *kernel.Site) (update, error) {
	for _, name := range []string{"alpha", "beta", "norm_coefficient", "mode"} {
		if s.Node.Attr(name) == nil {
			return nil, fmt.Errorf("attribute %q is missing", name)
		}
	}
	alpha, beta, norm := number(s, "alpha", 0), number(s, "beta", 0), number(s, "norm_coefficient", 0)
	nesterov := false
	switch mode := s.Node.AttrString("mode", ""); mode {
	case "standard":
	case "nesterov":
		nesterov = true
	default:
		return nil, fmt.Errorf("attribute \"mode\" is %q, want \"standard\" or \"nesterov\"", mode)
	}
	return func(rate float64, t int64, v []float64) {
		g, b := norm*v[0]+v[1], beta
		if t <= 0 {
			b = 1
		}
		v[2] = float64(alpha*v[2]) + float64(b*g)
		d := v[2]
		if nesterov {
			d = g + float64(alpha*v[2])
		}
		v[0] -= float64(rate * d)
	}, nil
}

// optimizers are the operators of the training domain.
func optimizers() kernel.Table {
	f := graph.AttrFloat
	return kernel.Table{
		"ai.onnx.preview.training.Adagrad": optimizer(1, attrs{"decay_factor": f, "epsilon": f, "norm_coefficient": f}, readAdagrad),
		"ai.onnx.preview.training.Adam": optimizer(2, attrs{"alpha": f, "beta": f, "epsilon": f, "norm_coefficient": f,
			"norm_coefficient_post": f}, readAdam),
		"ai.onnx.preview.training.Momentum": optimizer(1, attrs{"alpha": f, "beta": f, "norm_coefficient": f,
			"mode": graph.AttrString}, readMomentum),
	}
}
