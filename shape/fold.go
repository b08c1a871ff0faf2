package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// The integer arithmetic of shapes: contents of small vectors are followed element by element, so that one unknown extent does
// not hide the others.

func number(v int64) scalar { return scalar{known: true, value: v} }

// dimScalar is an extent as content.
func dimScalar(d graph.Dim) scalar {
	if d.Value >= 0 {
		return number(d.Value)
	}
	return scalar{param: d.Param}
}

// dim is content as an extent.
func (v scalar) dim() graph.Dim {
	if v.known && v.value >= 0 {
		return graph.Dim{Value: v.value}
	}
	return graph.Dim{Value: -1, Param: v.param}
}

func mapScalars(vals []scalar, f func(int64) (int64, bool)) []scalar {
	if vals == nil {
		return nil
	}
	out := make([]scalar, len(vals))
	for i, v := range vals {
		if v.known {
			if x, ok := f(v.value); ok {
				out[i] = number(x)
			}
		}
	}
	return out
}

// at is element i of a vector, or the one element of a scalar or vector of one that is broadcast.
func (f fact) at(i int) scalar {
	if len(f.vals) == 1 {
		return f.vals[0]
	}
	return f.vals[i]
}

// zip applies op to two small operands whose broadcast is e; nil where contents are not followed.
func zip(a, b fact, e extent, op func(x, y scalar) scalar) []scalar {
	n, ok := foldLength(e, a, b)
	if !ok || op == nil {
		return nil
	}
	out := make([]scalar, n)
	for i := range out {
		out[i] = op(a.at(i), b.at(i))
	}
	return out
}

// foldLength is the number of elements of a followed result of extent e over operands that all are followed.
func foldLength(e extent, operands ...fact) (int, bool) {
	if !e.ranked || len(e.dims) > 1 {
		return 0, false
	}
	n := 1
	if len(e.dims) == 1 {
		if e.dims[0].Value < 0 || e.dims[0].Value > maxFold {
			return 0, false
		}
		n = int(e.dims[0].Value)
	}
	for _, o := range operands {
		if o.vals == nil || len(o.vals) != n && len(o.vals) != 1 {
			return 0, false
		}
	}
	return n, true
}

// small keeps products and sums away from overflow.
func small(v int64) bool { return v > -1<<31 && v < 1<<31 }

func arithmeticFold(op string) func(x, y scalar) scalar {
	both := func(f func(a, b int64) (int64, bool)) func(x, y scalar) scalar {
		return func(x, y scalar) scalar {
			if x.known && y.known && small(x.value) && small(y.value) {
				if v, ok := f(x.value, y.value); ok {
					return number(v)
				}
			}
			return scalar{}
		}
	}
	switch op {
	case "Add":
		f := both(func(a, b int64) (int64, bool) { return a + b, true })
		return func(x, y scalar) scalar {
			if x == number(0) {
				return y
			}
			if y == number(0) {
				return x
			}
			return f(x, y)
		}
	case "Sub":
		f := both(func(a, b int64) (int64, bool) { return a - b, true })
		return func(x, y scalar) scalar {
			if y == number(0) {
				return x
			}
			return f(x, y)
		}
	case "Mul":
		f := both(func(a, b int64) (int64, bool) { return a * b, true })
		return func(x, y scalar) scalar {
			if x == number(1) {
				return y
			}
			if y == number(1) {
				return x
			}
			return f(x, y)
		}
	case "Div":
		// Integer division truncates.
		f := both(func(a, b int64) (int64, bool) {
			if b == 0 {
				return 0, false
			}
			return a / b, true
		})
		return func(x, y scalar) scalar {
			if y == number(1) {
				return x
			}
			return f(x, y)
		}
	case "Max":
		return both(func(a, b int64) (int64, bool) { return max(a, b), true })
	case "Min":
		return both(func(a, b int64) (int64, bool) { return min(a, b), true })
	}
	return nil
}

func comparisonFold(op string) func(x, y scalar) scalar {
	var f func(a, b int64) bool
	switch op {
	case "Equal":
		f = func(a, b int64) bool { return a == b }
	case "Less":
		f = func(a, b int64) bool { return a < b }
	case "LessOrEqual":
		f = func(a, b int64) bool { return a <= b }
	case "Greater":
		f = func(a, b int64) bool { return a > b }
	case "GreaterOrEqual":
		f = func(a, b int64) bool { return a >= b }
	default:
		return nil
	}
	return func(x, y scalar) scalar {
		switch {
		case x.known && y.known && f(x.value, y.value):
			return number(1)
		case x.known && y.known:
			return number(0)
		// Extents are never negative: torch's Expand compares them with −1.
		case op == "Equal" && (x.param != "" && y.known && y.value < 0 || y.param != "" && x.known && x.value < 0):
			return number(0)
		}
		return scalar{}
	}
}

func choose(cond, a, b fact, e extent) []scalar {
	n, ok := foldLength(e, cond, a, b)
	if !ok {
		return nil
	}
	out := make([]scalar, n)
	for i := range out {
		switch x, y := a.at(i), b.at(i); {
		case !cond.at(i).known && x == y:
			out[i] = x
		case !cond.at(i).known:
		case cond.at(i).value != 0:
			out[i] = x
		default:
			out[i] = y
		}
	}
	return out
}

// constantNode: exactly one of the attributes gives the value.
func constantNode(c *call) {
	for _, a := range c.node.Attributes {
		if a.Ref != "" {
			continue
		}
		switch a.Name {
		case "value":
			c.out(0, constant(a.Tensor))
		case "value_int":
			c.out(0, constant(tensor.Int64s(tensor.Shape{}, a.Int)))
		case "value_ints":
			c.out(0, constant(tensor.Int64s(tensor.Shape{int64(len(a.Ints))}, a.Ints...)))
		case "value_float":
			c.out(0, fact{elem: sureElem(tensor.Float32), ext: scalar0})
		case "value_floats":
			c.out(0, fact{elem: sureElem(tensor.Float32), ext: fixed(tensor.Shape{int64(len(a.Floats))})})
		case "value_string":
			c.out(0, fact{elem: sureElem(tensor.String), ext: scalar0})
		case "value_strings":
			c.out(0, fact{elem: sureElem(tensor.String), ext: fixed(tensor.Shape{int64(len(a.Strings))})})
		}
	}
}

// fromContent is the extent that the content of a shape operand describes: its rank alone where the content is unknown.
func fromContent(f fact) extent {
	if f.vals == nil {
		if n, ok := f.length(); ok {
			return ofRank(n, min(f.ext.sure, sureRank))
		}
		return extent{}
	}
	if f.ext.ranked && len(f.ext.dims) != 1 {
		return extent{}
	}
	e := ofRank(len(f.vals), min(f.ext.sure, sureRank))
	sure := f.ext.sure
	for i, v := range f.vals {
		e.dims[i] = v.dim()
		if !v.known {
			sure = min(sure, sureRank)
		}
	}
	e.sure = sure
	return e
}

func constantOfShape(c *call) {
	f := fact{elem: sureElem(tensor.Float32), ext: fromContent(c.in(0))}
	fill := fact{vals: []scalar{{}}}
	if a := c.node.Attr("value"); a != nil && a.Tensor != nil {
		fill = constant(a.Tensor)
		f.elem = fill.elem
	}
	if n, ok := foldLength(f.ext); ok && len(fill.vals) == 1 {
		f.vals = make([]scalar, n)
		for i := range f.vals {
			f.vals[i] = fill.vals[0]
		}
	}
	c.out(0, f)
}

func rangeOf(c *call) {
	f := fact{elem: c.in(0).elem, ext: ofRank(1, sureRank)}
	start, ok0 := c.in(0).ints()
	limit, ok1 := c.in(1).ints()
	delta, ok2 := c.in(2).ints()
	if ok0 && ok1 && ok2 && len(start) == 1 && len(limit) == 1 && len(delta) == 1 && delta[0] != 0 &&
		small(start[0]) && small(limit[0]) && small(delta[0]) {
		s, l, d := start[0], limit[0], delta[0]
		if d < 0 {
			s, l, d = -s, -l, -d
		}
		n := max(0, (l-s+d-1)/d)
		f.ext.dims[0] = graph.Dim{Value: n}
		if n <= maxFold {
			f.vals = make([]scalar, n)
			for i := range f.vals {
				f.vals[i] = number(start[0] + int64(i)*delta[0])
			}
		}
	}
	c.out(0, f)
}

// shapeOf: start and end select axes from opset 15 on.
func shapeOf(c *call) {
	f := fact{elem: sureElem(tensor.Int64), ext: ofRank(1, sureRank)}
	if e := c.in(0).ext; e.ranked {
		n := int64(len(e.dims))
		clamp := func(v int64) int64 {
			if v < 0 {
				v += n
			}
			return min(max(v, 0), n)
		}
		from, to := clamp(c.node.AttrInt("start", 0)), clamp(c.node.AttrInt("end", n))
		f.vals = []scalar{}
		for i := from; i < to; i++ {
			f.vals = append(f.vals, dimScalar(e.dims[i]))
		}
		f.ext.dims[0] = graph.Dim{Value: int64(len(f.vals))}
		f.ext.sure = e.sure
	}
	c.out(0, f)
}

func sizeOf(c *call) {
	f := fact{elem: sureElem(tensor.Int64), ext: scalar0, vals: []scalar{{}}}
	if e := c.in(0).ext; e.ranked {
		s := make(tensor.Shape, len(e.dims))
		for i, d := range e.dims {
			s[i] = d.Value
		}
		if n, err := s.Elements(); err == nil {
			f.vals[0] = number(n)
		}
	}
	c.out(0, f)
}
