package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// cell is a recurrent operator as a test describes it.
type cell struct {
	op                               string
	gates                            int
	direction                        string
	batchFirst, linear, coupled      bool
	clip                             float64
	bias, initial, lengths, peephole bool
	functions                        []string
	f                                []func(float64) float64 // for each direction
	alpha, beta                      []float32
}

func logistic(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

const (
	steps, batchSize, inputs, hidden = 5, 3, 4, 6
)

// compute is the equations of the specification, an element at a time.
func (c cell) compute(x, w, r, b, p, h0, c0 *array, lengths []int) (y, h, s *array) {
	dirs := w.shape[0]
	y, h, s = zeros(steps, dirs, batchSize, hidden), zeros(dirs, batchSize, hidden), zeros(dirs, batchSize, hidden)
	clip := func(v float64) float64 {
		if c.clip == 0 {
			return v
		}
		return min(max(v, -c.clip), c.clip)
	}
	for d := range dirs {
		f := c.f[d*len(c.f)/dirs:]
		for n := range batchSize {
			now, state := make([]float64, hidden), make([]float64, hidden)
			if h0 != nil {
				for j := range hidden {
					now[j] = h0.at(d, n, j)
					if c0 != nil {
						state[j] = c0.at(d, n, j)
					}
				}
			}
			for i := range lengths[n] {
				t := i
				if c.direction == "reverse" || d == 1 {
					t = lengths[n] - 1 - i
				}
				// in is x·W + its bias, re is what R makes of a state + its bias.
				in := func(gate, j int) float64 {
					sum := 0.0
					for k := range inputs {
						sum += x.at(t, n, k) * w.at(d, gate*hidden+j, k)
					}
					if b != nil {
						sum += b.at(d, gate*hidden+j)
					}
					return sum
				}
				re := func(gate, j int, h []float64) float64 {
					sum := 0.0
					for k := range hidden {
						sum += h[k] * r.at(d, gate*hidden+j, k)
					}
					if b != nil {
						sum += b.at(d, c.gates*hidden+gate*hidden+j)
					}
					return sum
				}
				peep := func(gate, j int, v float64) float64 {
					if p == nil {
						return 0
					}
					return p.at(d, gate*hidden+j) * v
				}
				next := make([]float64, hidden)
				switch c.op {
				case "RNN":
					for j := range next {
						next[j] = f[0](clip(in(0, j) + re(0, j, now)))
					}
				case "GRU":
					reset := make([]float64, hidden)
					gated := make([]float64, hidden)
					for j := range reset {
						reset[j] = f[0](clip(in(1, j) + re(1, j, now)))
						gated[j] = reset[j] * now[j]
					}
					for j := range next {
						z := f[0](clip(in(0, j) + re(0, j, now)))
						v := in(2, j) + re(2, j, gated)
						if c.linear {
							v = in(2, j) + reset[j]*re(2, j, now)
						}
						next[j] = (1-z)*f[1](clip(v)) + z*now[j]
					}
				case "LSTM":
					for j := range next {
						i := f[0](clip(in(0, j) + re(0, j, now) + peep(0, j, state[j])))
						forget := f[0](clip(in(2, j) + re(2, j, now) + peep(2, j, state[j])))
						if c.coupled {
							forget = 1 - i
						}
						state[j] = forget*state[j] + i*f[1](clip(in(3, j)+re(3, j, now)))
						o := f[0](clip(in(1, j) + re(1, j, now) + peep(1, j, state[j])))
						next[j] = o * f[2](clip(state[j]))
					}
				}
				now = next
				for j, v := range now {
					*y.ref(t, d, n, j) = v
				}
			}
			for j := range hidden {
				*h.ref(d, n, j), *s.ref(d, n, j) = now[j], state[j]
			}
		}
	}
	return y, h, s
}

// swap exchanges axes: axis i of the result is axis order[i] of a.
func swap(a *array, order ...int) *array {
	if a == nil {
		return nil
	}
	shape := make([]int, len(order))
	for i, o := range order {
		shape[i] = a.shape[o]
	}
	out := zeros(shape...)
	from := make([]int, len(order))
	each(shape, func(i []int) {
		for k, o := range order {
			from[o] = i[k]
		}
		*out.ref(i...) = a.at(from...)
	})
	return out
}

func TestRecurrentOperatorsAreTheirEquations(t *testing.T) {
	usual := map[string][]func(float64) float64{"RNN": {math.Tanh}, "GRU": {logistic, math.Tanh}, "LSTM": {logistic, math.Tanh, math.Tanh}}
	gates := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}
	var cells []cell
	for _, op := range []string{"RNN", "GRU", "LSTM"} {
		for _, c := range []cell{
			{direction: "forward"},
			{direction: "reverse", bias: true, lengths: true},
			{direction: "bidirectional", bias: true, initial: true, lengths: true},
			{direction: "bidirectional", bias: true, initial: true, batchFirst: true},
			{direction: "forward", bias: true, clip: 0.25},
			{direction: "bidirectional", bias: true, linear: op == "GRU", initial: true, lengths: true},
			{direction: "forward", linear: op == "GRU", coupled: op == "LSTM"},
			{direction: "bidirectional", bias: true, peephole: op == "LSTM", initial: true, clip: 0.75},
		} {
			c.op, c.gates, c.f = op, gates[op], usual[op]
			if c.direction == "bidirectional" {
				c.f = append(append([]func(float64) float64{}, c.f...), c.f...)
			}
			cells = append(cells, c)
		}
	}
	// every other function, with parameters of its own and without
	elu := func(a float64) func(float64) float64 {
		return func(v float64) float64 {
			if v < 0 {
				return a * (math.Exp(v) - 1)
			}
			return v
		}
	}
	for _, c := range []cell{
		{functions: []string{"Relu"}, f: []func(float64) float64{func(v float64) float64 { return max(v, 0) }}},
		{functions: []string{"softsign"}, f: []func(float64) float64{func(v float64) float64 { return v / (1 + math.Abs(v)) }}},
		{functions: []string{"Softplus"}, f: []func(float64) float64{func(v float64) float64 { return math.Log(1 + math.Exp(v)) }}},
		{functions: []string{"Affine"}, alpha: []float32{0.5}, beta: []float32{0.25}, f: []func(float64) float64{func(v float64) float64 { return 0.5*v + 0.25 }}},
		{functions: []string{"LeakyRelu"}, alpha: []float32{0.25}, f: []func(float64) float64{func(v float64) float64 { return max(v, v/4) }}},
		{functions: []string{"ScaledTanh"}, alpha: []float32{2}, beta: []float32{0.5}, f: []func(float64) float64{func(v float64) float64 { return 2 * math.Tanh(v/2) }}},
		{functions: []string{"HardSigmoid"}, f: []func(float64) float64{func(v float64) float64 { return min(max(float64(0.2)*v+0.5, 0), 1) }}},
		{functions: []string{"ThresholdedRelu"}, f: []func(float64) float64{func(v float64) float64 {
			if v >= 1 {
				return v
			}
			return 0
		}}},
		{functions: []string{"Elu", "Elu"}, alpha: []float32{0.5}, f: []func(float64) float64{elu(0.5), elu(1)}, direction: "bidirectional"},
		{functions: []string{"Tanh", "Elu"}, alpha: []float32{0.5}, f: []func(float64) float64{math.Tanh, elu(0.5)}, direction: "bidirectional"},
		{functions: []string{"Tanh", "Tanh"}, f: []func(float64) float64{math.Tanh}},
	} {
		c.op, c.gates, c.bias, c.lengths = "RNN", 1, true, true
		if c.direction == "" {
			c.direction = "forward"
		}
		cells = append(cells, c)
	}
	for i, c := range cells {
		rng := rand.New(rand.NewPCG(4, uint64(i)))
		dirs := 1
		if c.direction == "bidirectional" {
			dirs = 2
		}
		small := func(shape ...int) *array {
			a := random(rng, shape...)
			for i := range a.v {
				a.v[i] /= 4
			}
			return a
		}
		optional := func(there bool, shape ...int) *array {
			if !there {
				return nil
			}
			return small(shape...)
		}
		x, w, r := random(rng, steps, batchSize, inputs), small(dirs, c.gates*hidden, inputs), small(dirs, c.gates*hidden, hidden)
		b := optional(c.bias, dirs, 2*c.gates*hidden)
		h0, c0 := optional(c.initial, dirs, batchSize, hidden), optional(c.initial && c.op == "LSTM", dirs, batchSize, hidden)
		p := optional(c.peephole, dirs, 3*hidden)
		lengths := []int{steps, steps, steps}
		var lens *array
		if c.lengths {
			lengths = []int{3, 0, 5}
			lens = list(3, 0, 5)
		}
		y, h, s := c.compute(x, w, r, b, p, h0, c0, lengths)
		attrs := []*graph.Attribute{graph.Str("direction", c.direction), graph.Int("hidden_size", hidden)}
		if c.clip != 0 {
			attrs = append(attrs, graph.Float("clip", float32(c.clip)))
		}
		if c.functions != nil {
			a := &graph.Attribute{Name: "activations", Kind: graph.AttrStrings}
			for _, f := range c.functions {
				a.Strings = append(a.Strings, []byte(f))
			}
			attrs = append(attrs, a, graph.Floats("activation_alpha", c.alpha...), graph.Floats("activation_beta", c.beta...))
		}
		if c.linear {
			attrs = append(attrs, graph.Int("linear_before_reset", 1))
		}
		if c.coupled {
			attrs = append(attrs, graph.Int("input_forget", 1))
		}
		if c.batchFirst {
			attrs = append(attrs, graph.Int("layout", 1))
			x, h0, c0 = swap(x, 1, 0, 2), swap(h0, 1, 0, 2), swap(c0, 1, 0, 2)
			y, h, s = swap(y, 2, 0, 1, 3), swap(h, 1, 0, 2), swap(s, 1, 0, 2)
		}
		for _, d := range floatTypes {
			in := []*kernel.Tensor{x.as(d), w.as(d), r.as(d), b.as(d), lens.as(tensor.Int32), h0.as(d)}
			outs := 2
			if c.op == "LSTM" {
				in, outs = append(in, c0.as(d), p.as(d)), 3
			}
			name := fmt.Sprintf("%s %d (%s), %s", c.op, i, c.direction, d)
			got := node{op: c.op, attrs: attrs, outs: outs}.must(t, in...)
			packed := node{op: c.op, attrs: attrs, outs: outs, constant: true}.must(t, in...)
			for k, want := range []*array{y, h, s}[:outs] {
				same(t, fmt.Sprintf("%s, output %d", name, k), got[k], d, want)
				bits(t, name+", packed", packed[k], got[k])
			}
		}
	}
}

func TestRecurrentOperatorsRefuseWhatDoesNotFit(t *testing.T) {
	x, w, r := zeros(steps, batchSize, inputs).f32(), zeros(1, 4*hidden, inputs).f32(), zeros(1, 4*hidden, hidden).f32()
	n := node{op: "LSTM"}
	n.refuses(t, "input 0 has shape [5,3], want three axes", zeros(5, 3).f32(), w, r)
	n.refuses(t, "input 2 has shape [1,24,5], want [1,4·hidden,hidden]", x, w, zeros(1, 24, 5).f32())
	n.refuses(t, "input 1 has shape [1,24,5], want [1,24,4]", x, zeros(1, 24, 5).f32(), r)
	n.refuses(t, "input 3 has shape [1,24], want [1,48]", x, w, r, zeros(1, 24).f32())
	n.refuses(t, "the length 6, want 0 to 5", x, w, r, nil, list(1, 6, 2).as(tensor.Int32))
	n.refuses(t, "input 4 is int64[3], want int32[3]", x, w, r, nil, zeros(3).as(tensor.Int64))
	n.refuses(t, "input 5 has shape [3,6], want [1,3,6]", x, w, r, nil, nil, zeros(3, 6).f32())
	for words, a := range map[string]*graph.Attribute{
		`"hidden_size" is 5`:                 graph.Int("hidden_size", 5),
		`"direction" is "backward"`:          graph.Str("direction", "backward"),
		`"clip" is -1`:                       graph.Float("clip", -1),
		`"linear_before_reset" is not known`: graph.Int("linear_before_reset", 1),
		`names "Sin", which is not known`:    {Name: "activations", Kind: graph.AttrStrings, Strings: [][]byte{[]byte("Sin"), []byte("Tanh"), []byte("Tanh")}},
		`has 1 functions, want 3`:            {Name: "activations", Kind: graph.AttrStrings, Strings: [][]byte{[]byte("Tanh")}},
	} {
		node{op: "LSTM", attrs: []*graph.Attribute{a}}.refuses(t, words, x, w, r)
	}
}
