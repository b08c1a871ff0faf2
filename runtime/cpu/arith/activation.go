package arith

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// parameters are the float attributes of an activation and their defaults.
type parameters map[string]float32

// function1 is a function of one real number, with a loop of its own for float32 where there is one.
type function1 struct {
	f32 func(dst, src []float32)
	f   func(float64) float64
}

// loops are the function's loops.
func (f function1) loops() loops1 {
	l := loops1{f32: f.f32, f64: through[float64](f.f)}
	if l.f32 == nil {
		l.f32 = through[float32](f.f)
	}
	return l
}

// activation is the Maker of a function of one real number with float attributes.
func activation(defaults parameters, f func(p func(string) float64) function1) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		want := attrs{}
		for name := range defaults {
			want[name] = graph.AttrFloat
		}
		if err := check(s, want); err != nil {
			return nil, err
		}
		g := f(func(name string) float64 { return number(s, name, defaults[name]) })
		return apply(tensor.Undefined, g.loops().of), nil
	}
}

func relu[T signed | float](dst, src []T) {
	dst = dst[:len(src)]
	for i, v := range src {
		if v < 0 {
			v = 0
		}
		dst[i] = v // NaN stays
	}
}

func leaky[T float](alpha T) func(dst, src []T) {
	return func(dst, src []T) {
		dst = dst[:len(src)]
		for i, v := range src {
			if v < 0 {
				v *= alpha
			}
			dst[i] = v
		}
	}
}

func makeLeakyRelu(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"alpha": graph.AttrFloat}); err != nil {
		return nil, err
	}
	alpha := s.Node.AttrFloat("alpha", 0.01)
	return apply(tensor.Undefined, loops1{f32: leaky32(alpha), f64: leaky(float64(alpha))}.of), nil
}

// sigmoid is 1/(1+exp(-x)) without overflow.
func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

// softplus is log(1+exp(x)) without overflow.
func softplus(x float64) float64 {
	if x > 0 {
		return x + math.Log1p(math.Exp(-x))
	}
	return math.Log1p(math.Exp(x))
}

// gelu is x·Φ(x), Φ the normal distribution.
func gelu(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }

// tanhGelu is gelu with Φ approximated by a tanh, as ONNX writes it.
func tanhGelu(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

func makeGelu(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"approximate": graph.AttrString}); err != nil {
		return nil, err
	}
	f := function1{gelu32(), gelu}
	switch a := s.Node.AttrString("approximate", "none"); a {
	case "none":
	case "tanh":
		f = function1{tanhGelu32(), tanhGelu}
	default:
		return nil, fmt.Errorf("attribute \"approximate\" is %q, want \"none\" or \"tanh\"", a)
	}
	return apply(tensor.Undefined, f.loops().of), nil
}

// hardSigmoid is max(0, min(1, alpha·x+beta)), NaN for NaN.
func hardSigmoid(x, alpha, beta float64) float64 { return max(0, min(1, alpha*x+beta)) }

// shrink moves what lies beyond ±lambda towards zero by bias; all else becomes 0.
func shrink[T numeric](lambda, bias float64) func(dst, src []T) {
	return func(dst, src []T) {
		dst = dst[:len(src)]
		for i, v := range src {
			switch x := float64(v); {
			case x < -lambda:
				dst[i] = fromReal[T](x + bias)
			case x > lambda:
				dst[i] = fromReal[T](x - bias)
			default:
				dst[i] = 0
			}
		}
	}
}

func makeShrink(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"lambd": graph.AttrFloat, "bias": graph.AttrFloat}); err != nil {
		return nil, err
	}
	l, b := number(s, "lambd", 0.5), number(s, "bias", 0)
	return apply(tensor.Undefined, loops1{shrink[float32](l, b), shrink[float64](l, b), shrink[int8](l, b), shrink[int16](l, b),
		shrink[int32](l, b), shrink[int64](l, b), shrink[uint8](l, b), shrink[uint16](l, b), shrink[uint32](l, b),
		shrink[uint64](l, b)}.of), nil
}

// activations are the nonlinear functions of networks.
func activations() kernel.Table {
	none := parameters{}
	alpha := func(v float32) parameters { return parameters{"alpha": v} }
	return kernel.Table{
		"Relu": simple(loops1{f32: relu32, f64: relu[float64], i8: relu[int8], i16: relu[int16], i32: relu[int32],
			i64: relu[int64]}),
		"LeakyRelu": makeLeakyRelu,
		"Gelu":      makeGelu,
		"Shrink":    makeShrink,
		"Sigmoid":   vectored(vec.Sigmoid, sigmoid),
		"Softplus":  function(softplus),
		"Softsign":  function(func(x float64) float64 { return x / (1 + math.Abs(x)) }),
		"Mish":      vectored(mish32(), func(x float64) float64 { return x * math.Tanh(softplus(x)) }),
		"HardSigmoid": activation(parameters{"alpha": 0.2, "beta": 0.5}, func(p func(string) float64) function1 {
			a, b := p("alpha"), p("beta")
			return function1{hardSigmoid32(a, b), func(x float64) float64 { return hardSigmoid(x, a, b) }}
		}),
		"HardSwish": activation(none, func(func(string) float64) function1 {
			return function1{hardSwish32(), func(x float64) float64 { return x * hardSigmoid(x, 1.0/6, 0.5) }}
		}),
		"ThresholdedRelu": activation(alpha(1), func(p func(string) float64) function1 {
			a := p("alpha")
			return function1{f: func(x float64) float64 {
				if x > a {
					return x
				}
				return 0
			}}
		}),
		"Elu": activation(alpha(1), func(p func(string) float64) function1 {
			a := p("alpha")
			return function1{f: func(x float64) float64 {
				if x >= 0 {
					return x
				}
				return a * math.Expm1(x)
			}}
		}),
		"Celu": activation(alpha(1), func(p func(string) float64) function1 {
			a := p("alpha")
			return function1{f: func(x float64) float64 { return max(0, x) + min(0, a*math.Expm1(x/a)) }}
		}),
		"Selu": activation(parameters{"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
			func(p func(string) float64) function1 {
				a, g := p("alpha"), p("gamma")
				return function1{f: func(x float64) float64 {
					if x > 0 {
						return g * x
					}
					return g * a * math.Expm1(x)
				}}
			}),
		"Swish": activation(alpha(1), func(p func(string) float64) function1 {
			a := p("alpha")
			return function1{swish32(a), func(x float64) float64 { return x * sigmoid(a*x) }}
		}),
	}
}
