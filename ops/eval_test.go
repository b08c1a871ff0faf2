package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// value is a tensor of any type, its elements as float64 rounded to the type.
type value struct {
	dtype tensor.DType
	shape []int
	v     []float64
}

func count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// round brings x to the nearest value of dtype. Sums, products and quotients of float32 computed in float64 and rounded here are
// the float32 ones.
func round(dtype tensor.DType, x float64) float64 {
	switch dtype {
	case tensor.Float32:
		return float64(float32(x))
	case tensor.Float16:
		return float64(float8.Float16FromFloat32(float32(x)).Float32())
	case tensor.BFloat16:
		return float64(float8.BFloat16FromFloat32(float32(x)).Float32())
	case tensor.Float8E4M3FN:
		return float64(float8.E4M3FNFromFloat32(float32(x), float8.Saturate).Float32())
	}
	return x
}

// evaluate runs a body, checking on the way that every node is one of an operator set that it knows, reads only what stands before
// it and makes a new name. It is as hostile as a runtime may be: ReduceMax drops NaN, as ONNX Runtime's does.
func evaluate(f *graph.Function, inputs map[string]value, attributes map[string]float32) (map[string]value, error) {
	env := map[string]value{}
	for _, name := range f.Inputs {
		env[name] = inputs[name]
	}
	for _, n := range f.Nodes {
		var in []value
		for _, name := range n.Inputs {
			v, ok := env[name]
			if !ok {
				return nil, fmt.Errorf("node %q reads %q, which nothing before it makes", n.Name, name)
			}
			in = append(in, v)
		}
		if len(n.Outputs) != 1 {
			return nil, fmt.Errorf("node %q: %d outputs", n.Name, len(n.Outputs))
		}
		if _, ok := env[n.Outputs[0]]; ok {
			return nil, fmt.Errorf("node %q makes %q a second time", n.Name, n.Outputs[0])
		}
		out, err := run(n, in, attributes)
		if err != nil {
			return nil, fmt.Errorf("node %q (%s): %w", n.Name, n.OpType, err)
		}
		env[n.Outputs[0]] = out
	}
	for _, name := range f.Outputs {
		if _, ok := env[name]; !ok {
			return nil, fmt.Errorf("output %q is not made", name)
		}
	}
	return env, nil
}

func run(n *graph.Node, in []value, attributes map[string]float32) (value, error) {
	if n.Domain != "" {
		return value{}, fmt.Errorf("domain %q", n.Domain)
	}
	truth := func(b bool) float64 { return float64(bit(b)) }
	switch n.OpType {
	case "Constant":
		return constant(n.Attributes[0], attributes)
	case "Cast":
		return unary(in[0], tensor.DType(n.AttrInt("to", 0)), func(x float64) float64 { return x })
	case "CastLike":
		return unary(in[0], in[1].dtype, func(x float64) float64 { return x })
	case "Abs":
		return unary(in[0], in[0].dtype, math.Abs)
	case "Reciprocal":
		return unary(in[0], in[0].dtype, func(x float64) float64 { return 1 / x })
	case "IsNaN":
		return unary(in[0], tensor.Bool, func(x float64) float64 { return truth(math.IsNaN(x)) })
	case "Mul":
		return broadcast(in[0].dtype, in, func(x []float64) float64 { return x[0] * x[1] })
	case "Max":
		return broadcast(in[0].dtype, in, func(x []float64) float64 { return max(x[0], x[1]) })
	case "Clip":
		return broadcast(in[0].dtype, in, func(x []float64) float64 { return min(max(x[0], x[1]), x[2]) })
	case "Where":
		return broadcast(in[1].dtype, in, func(x []float64) float64 {
			if x[0] != 0 {
				return x[1]
			}
			return x[2]
		})
	case "Greater":
		return broadcast(tensor.Bool, in, func(x []float64) float64 { return truth(x[0] > x[1]) })
	case "Less":
		return broadcast(tensor.Bool, in, func(x []float64) float64 { return truth(x[0] < x[1]) })
	case "LessOrEqual":
		return broadcast(tensor.Bool, in, func(x []float64) float64 { return truth(x[0] <= x[1]) })
	case "And":
		return broadcast(tensor.Bool, in, func(x []float64) float64 { return truth(x[0] != 0 && x[1] != 0) })
	case "ReduceMax":
		return reduce(n, in, math.Inf(-1), func(a, x float64) float64 {
			if x > a {
				return x
			}
			return a
		})
	case "ReduceSum":
		return reduce(n, in, 0, func(a, x float64) float64 { return a + x })
	case "Size":
		return value{tensor.Int64, nil, []float64{float64(count(in[0].shape))}}, nil
	case "Concat":
		return value{in[0].dtype, []int{in[0].shape[0] + in[1].shape[0]}, slices.Concat(in[0].v, in[1].v)}, nil
	case "Unsqueeze": // by -1, the only use
		return value{in[0].dtype, append(slices.Clone(in[0].shape), 1), in[0].v}, nil
	case "Reshape":
		return reshape(in[0], in[1])
	case "Transpose": // by [1, 0], the only use
		r, c := in[0].shape[0], in[0].shape[1]
		out := value{in[0].dtype, []int{c, r}, make([]float64, r*c)}
		for i := range r {
			for j := range c {
				out.v[j*r+i] = in[0].v[i*c+j]
			}
		}
		return out, nil
	case "MatMul":
		return matmul(in[0], in[1])
	}
	return value{}, fmt.Errorf("an operator that no body uses")
}

func constant(a *graph.Attribute, attributes map[string]float32) (value, error) {
	switch {
	case a.Ref != "":
		v, ok := attributes[a.Ref]
		if !ok {
			return value{}, fmt.Errorf("attribute %q is not declared", a.Ref)
		}
		return value{tensor.Float32, nil, []float64{float64(v)}}, nil
	case a.Name == "value_float":
		return value{tensor.Float32, nil, []float64{float64(a.Float)}}, nil
	case a.Name == "value_ints":
		out := value{dtype: tensor.Int64, shape: []int{len(a.Ints)}}
		for _, x := range a.Ints {
			out.v = append(out.v, float64(x))
		}
		return out, nil
	}
	fs, err := a.Tensor.AsFloat32s()
	out := value{dtype: tensor.Float32, shape: []int{len(fs)}}
	for _, x := range fs {
		out.v = append(out.v, float64(x))
	}
	return out, err
}

func unary(x value, dtype tensor.DType, f func(float64) float64) (value, error) {
	out := value{dtype, x.shape, make([]float64, len(x.v))}
	for i := range x.v {
		out.v[i] = round(dtype, f(x.v[i]))
	}
	return out, nil
}

func broadcast(dtype tensor.DType, in []value, f func([]float64) float64) (value, error) {
	rank := 0
	for _, x := range in {
		rank = max(rank, len(x.shape))
	}
	shape := slices.Repeat([]int{1}, rank)
	for _, x := range in {
		for i, d := range x.shape {
			at := rank - len(x.shape) + i
			if d != 1 && shape[at] != 1 && shape[at] != d {
				return value{}, fmt.Errorf("shapes do not broadcast")
			}
			if d != 1 {
				shape[at] = d
			}
		}
	}
	out := value{dtype, shape, make([]float64, count(shape))}
	args := make([]float64, len(in))
	for i := range out.v {
		for k, x := range in {
			at, stride, rest := 0, 1, i
			for a := rank - 1; a >= 0; a-- {
				index := rest % shape[a]
				rest /= shape[a]
				if own := a - (rank - len(x.shape)); own >= 0 {
					if x.shape[own] != 1 {
						at += index * stride
					}
					stride *= x.shape[own]
				}
			}
			args[k] = x.v[at]
		}
		out.v[i] = round(dtype, f(args))
	}
	return out, nil
}

// reduce knows the two uses: over everything, and over the last axis, both without keeping the axis.
func reduce(n *graph.Node, in []value, start float64, f func(a, x float64) float64) (value, error) {
	if n.AttrInt("keepdims", 1) != 0 {
		return value{}, fmt.Errorf("keeps its axes")
	}
	x := in[0]
	row, shape := len(x.v), []int(nil)
	if len(in) > 1 {
		row, shape = x.shape[len(x.shape)-1], x.shape[:len(x.shape)-1]
	}
	out := value{x.dtype, shape, make([]float64, count(shape))}
	for i := range out.v {
		a := start
		for _, e := range x.v[i*row : (i+1)*row] {
			a = f(a, e)
		}
		out.v[i] = round(x.dtype, a)
	}
	return out, nil
}

func reshape(x, shape value) (value, error) {
	known, unknown := 1, -1
	dims := make([]int, len(shape.v))
	for i, d := range shape.v {
		dims[i] = int(d)
		if d == -1 {
			unknown = i
		} else {
			known *= int(d)
		}
	}
	if unknown >= 0 {
		dims[unknown] = len(x.v) / known
	}
	if count(dims) != len(x.v) {
		return value{}, fmt.Errorf("%d elements do not fill %v", len(x.v), dims)
	}
	return value{x.dtype, dims, x.v}, nil
}

func matmul(x, w value) (value, error) {
	k, n := w.shape[0], w.shape[1]
	if x.dtype != tensor.Float32 || w.dtype != tensor.Float32 {
		return value{}, fmt.Errorf("of %s and %s, want float32", x.dtype, w.dtype)
	}
	if x.shape[len(x.shape)-1] != k {
		return value{}, fmt.Errorf("inner sizes %v and %v differ", x.shape, w.shape)
	}
	rows := len(x.v) / k
	out := value{tensor.Float32, append(slices.Clone(x.shape[:len(x.shape)-1]), n), make([]float64, rows*n)}
	for i := range rows {
		for j := range n {
			sum := 0.0
			for l := range k {
				sum += x.v[i*k+l] * w.v[l*n+j]
			}
			out.v[i*n+j] = round(tensor.Float32, sum)
		}
	}
	return out, nil
}
