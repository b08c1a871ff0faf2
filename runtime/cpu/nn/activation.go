package nn

import (
	"fmt"
	"math"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/vec"
)

// activation is a function inside a recurrent cell, applied in place.
type activation struct {
	name        string
	alpha, beta float64
}

// activations are the functions that recurrent cells may use, with the defaults of their parameters and which of them they take.
var activations = map[string]struct {
	activation
	takesAlpha, takesBeta bool
}{
	"relu":            {activation: activation{name: "relu"}},
	"tanh":            {activation: activation{name: "tanh"}},
	"sigmoid":         {activation: activation{name: "sigmoid"}},
	"softsign":        {activation: activation{name: "softsign"}},
	"softplus":        {activation: activation{name: "softplus"}},
	"affine":          {activation{"affine", 1, 0}, true, true},
	"leakyrelu":       {activation{"leakyrelu", 0.01, 0}, true, false},
	"thresholdedrelu": {activation{"thresholdedrelu", 1, 0}, true, false},
	"scaledtanh":      {activation{"scaledtanh", 1, 1}, true, true},
	"hardsigmoid":     {activation{"hardsigmoid", 0.2, 0.5}, true, true},
	"elu":             {activation{"elu", 1, 0}, true, false},
}

// readActivations is the list of functions of all directions. Each one that takes a parameter takes the next number of its list, or its
// default when the list is at its end.
func readActivations(a *kernel.Attrs, defaults []string, directions int) []activation {
	names, ok := a.Strings("activations")
	if !ok {
		for range directions {
			names = append(names, defaults...)
		}
	}
	alpha, _ := a.Floats("activation_alpha")
	beta, _ := a.Floats("activation_beta")
	// The default of RNN in the specification is two functions whatever the direction: those left over are for nobody.
	if need := len(defaults) * directions; len(names) > need && len(names) == 2*need {
		names = names[:need]
	}
	if len(names) != len(defaults)*directions {
		a.Fail("attribute \"activations\" has %d functions, want %d", len(names), len(defaults)*directions)
	}
	out := make([]activation, len(names))
	for i, name := range names {
		k, ok := activations[strings.ToLower(name)]
		if !ok {
			a.Fail("attribute \"activations\" names %q, which is not known", name)
			continue
		}
		out[i] = k.activation
		if k.takesAlpha && len(alpha) > 0 {
			out[i].alpha, alpha = float64(alpha[0]), alpha[1:]
		}
		if k.takesBeta && len(beta) > 0 {
			out[i].beta, beta = float64(beta[0]), beta[1:]
		}
	}
	return out
}

// apply replaces every element of x, after clipping to [-clip, clip].
func apply[F real](f activation, x []F, clip F) {
	if !math.IsInf(float64(clip), 1) {
		for i, v := range x {
			x[i] = min(max(v, -clip), clip)
		}
	}
	switch f.name {
	case "tanh":
		tanh(x)
	case "sigmoid":
		sigmoid(x)
	case "relu":
		for i, v := range x {
			x[i] = max(v, 0)
		}
	default:
		for i, v := range x {
			x[i] = F(f.of(float64(v)))
		}
	}
}

// tanh replaces every element by its hyperbolic tangent.
func tanh[F real](x []F) {
	if x32, ok := any(x).([]float32); ok {
		vec.Tanh(x32, x32)
		return
	}
	for i, v := range x {
		x[i] = F(math.Tanh(float64(v)))
	}
}

// sigmoid replaces every element v by 1/(1+e^-v).
func sigmoid[F real](x []F) {
	if x32, ok := any(x).([]float32); ok {
		vec.Sigmoid(x32, x32)
		return
	}
	for i, v := range x {
		x[i] = F(1 / (1 + math.Exp(-float64(v))))
	}
}

// of is the rarer functions.
func (f activation) of(v float64) float64 {
	switch f.name {
	case "softsign":
		return v / (1 + math.Abs(v))
	case "softplus":
		return max(v, 0) + math.Log1p(math.Exp(-math.Abs(v)))
	case "affine":
		return f.alpha*v + f.beta
	case "leakyrelu":
		if v < 0 {
			return f.alpha * v
		}
		return v
	case "thresholdedrelu":
		if v >= f.alpha {
			return v
		}
		return 0
	case "scaledtanh":
		return f.alpha * math.Tanh(f.beta*v)
	case "hardsigmoid":
		return min(max(f.alpha*v+f.beta, 0), 1)
	case "elu":
		if v < 0 {
			return f.alpha * math.Expm1(v)
		}
		return v
	}
	panic(fmt.Sprintf("nn: activation %q", f.name))
}
