package specialize

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// geluRule: y = ½·x·(1 + Erf(x/√2)), or y = ½·x·(1 + Tanh(√(2/π)·(x + 0.044715·x³))), however the products are grouped.
func geluRule(v *view, root *graph.Node) []*graph.Node {
	if v.m.OpsetVersion("") < 20 || !root.Is("Mul") && !root.Is("Div") {
		return nil
	}
	p := &product{view: v, coefficient: 1}
	p.node(root)
	if len(p.factors) != 2 {
		return nil
	}
	for i, x := range p.factors {
		d, _, ok := v.typ(x)
		a := &affine{view: v}
		if !ok || !floating(d) || !a.of(p.factors[1-i]) {
			continue
		}
		if !near(p.coefficient*a.constant, 0.5, d) || !near(p.coefficient*a.slope, 0.5, d) {
			continue
		}
		q := &polynomial{view: v, x: x}
		c, ok := q.of(a.curve.Input(0), 0)
		if !ok {
			continue
		}
		approximate := ""
		switch {
		case a.curve.Is("Erf") && c.is(d, 0, math.Sqrt(0.5), 0, 0):
			approximate = "none"
		case a.curve.Is("Tanh") && c.is(d, 0, math.Sqrt(2/math.Pi), 0, math.Sqrt(2/math.Pi)*0.044715):
			approximate = "tanh"
		default:
			continue
		}
		inner := append(append(append(p.inner[1:], a.inner...), q.inner...), a.curve)
		if !v.closed(root, inner...) || !v.sameType(x, root.Output(0)) {
			continue
		}
		return []*graph.Node{{OpType: "Gelu", Inputs: []string{x}, Outputs: root.Outputs[:1],
			Attributes: []*graph.Attribute{graph.Str("approximate", approximate)}}}
	}
	return nil
}

// product is a value as coefficient · factors.
type product struct {
	*view
	coefficient float64
	factors     []string
	inner       []*graph.Node
}

// node takes apart a Mul, or a Div by a constant; a factor that others read stays whole.
func (p *product) node(n *graph.Node) {
	p.inner = append(p.inner, n)
	for i, in := range n.Inputs {
		m := p.maker[in]
		c, constant := p.scalar(in)
		switch {
		case constant && n.Is("Mul"):
			p.coefficient *= c
		case constant && i == 1:
			p.coefficient /= c
		case i == 1 && n.Is("Div") || len(p.factors) > 2:
			p.factors = append(p.factors, "", "", "") // not a product of two
		case m != nil && (m.Is("Mul") || m.Is("Div")) && len(p.readers[in]) == 1 && !p.outputs[in]:
			p.node(m)
		default:
			p.factors = append(p.factors, in)
		}
	}
}

// affine is a value as constant + slope · curve, where curve is an Erf or a Tanh.
type affine struct {
	*view
	constant, slope float64
	curve           *graph.Node
	inner           []*graph.Node
}

func (a *affine) of(name string) bool {
	n := a.maker[name]
	if n == nil {
		return false
	}
	if n.Is("Erf") || n.Is("Tanh") {
		a.curve, a.slope = n, 1
		return true
	}
	if len(n.Inputs) != 2 || len(a.inner) > 3 {
		return false
	}
	a.inner = append(a.inner, n)
	for i, in := range n.Inputs {
		c, ok := a.scalar(in)
		if !ok {
			continue
		}
		if !a.of(n.Inputs[1-i]) {
			return false
		}
		switch {
		case n.Is("Add"):
			a.constant += c
		case n.Is("Mul"):
			a.constant, a.slope = a.constant*c, a.slope*c
		case n.Is("Div") && i == 1:
			a.constant, a.slope = a.constant/c, a.slope/c
		default:
			return false
		}
		return true
	}
	return false
}

// polynomial is a value as a polynomial of x.
type polynomial struct {
	*view
	x     string
	inner []*graph.Node
}

// coefficients are those of the powers 0 to 3.
type coefficients [4]float64

func (c coefficients) is(d tensor.DType, want ...float64) bool {
	for i, w := range want {
		if w == 0 && c[i] != 0 || w != 0 && !near(c[i], w, d) {
			return false
		}
	}
	return true
}

func (c coefficients) times(o coefficients) (coefficients, bool) {
	var out coefficients
	for i, a := range c {
		for j, b := range o {
			if a == 0 || b == 0 {
				continue
			}
			if i+j >= len(out) {
				return out, false
			}
			out[i+j] += a * b
		}
	}
	return out, true
}

func (c coefficients) plus(o coefficients, factor float64) coefficients {
	for i := range c {
		c[i] += factor * o[i]
	}
	return c
}

// of is the polynomial of a value.
func (p *polynomial) of(name string, depth int) (coefficients, bool) {
	if name == p.x {
		return coefficients{1: 1}, true
	}
	if c, ok := p.scalar(name); ok {
		return coefficients{c}, true
	}
	n := p.maker[name]
	if n == nil || depth > 8 || len(n.Inputs) != 2 || graph.CanonicalDomain(n.Domain) != "" {
		return coefficients{}, false
	}
	switch n.OpType {
	case "Mul", "Add", "Sub", "Div", "Pow":
	default:
		return coefficients{}, false
	}
	p.inner = append(p.inner, n)
	a, ok := p.of(n.Inputs[0], depth+1)
	if !ok {
		return a, false
	}
	b, ok := p.of(n.Inputs[1], depth+1)
	if !ok {
		return b, false
	}
	constant := b == coefficients{b[0]}
	switch n.OpType {
	case "Add":
		return a.plus(b, 1), true
	case "Sub":
		return a.plus(b, -1), true
	case "Div":
		return coefficients{}.plus(a, 1/b[0]), constant && b[0] != 0
	case "Pow":
		if !constant || b[0] != 2 && b[0] != 3 {
			return a, false
		}
		out := coefficients{1}
		for range int(b[0]) {
			if out, ok = out.times(a); !ok {
				return out, false
			}
		}
		return out, true
	}
	return a.times(b)
}
