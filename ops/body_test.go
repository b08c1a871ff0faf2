package ops

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

const testK, testN = 7, 5

// call is one use of a body: its inputs and what the definition, written out in plain Go, says of them.
type call struct {
	variant    Variant
	dtype      tensor.DType
	x, w       value
	sx         float32
	sw         []float32 // one element for a scalar
	perChannel bool
	quantMax   float32
	wantAmax   float64
	wantOutput []float64
}

// newCall makes a weight and stored scales around x. The stored scales are stale on purpose, so that some elements saturate and a
// body that mixes a stored scale up with a dynamic one is wrong. inWeight, where it is not 0, is an element of the weight's second row.
func newCall(v Variant, dtype tensor.DType, perChannel bool, quantMax float32, shape []int, x []float64, inWeight float64) call {
	r := rand.New(rand.NewPCG(1, 2))
	c := call{variant: v, dtype: dtype, perChannel: perChannel, quantMax: quantMax, sx: 130}
	c.x = value{dtype, shape, make([]float64, len(x))}
	for i := range x {
		c.x.v[i] = round(dtype, x[i])
	}
	rows := make([]float64, testN*testK)
	for i := range rows {
		if i/testK == 3 {
			continue // a channel of zeros
		}
		rows[i] = round(dtype, r.NormFloat64()*float64(1+i/testK))
	}
	if inWeight != 0 {
		rows[testK+2] = inWeight
	}
	groups := 1
	if perChannel {
		groups = testN
	}
	c.sw = make([]float32, groups)
	for g := range c.sw {
		c.sw[g] = float32(40 + 3*g)
	}
	c.w = value{dtype, []int{testN, testK}, rows}
	if v.Weight == WeightFloat8 {
		c.w.dtype = tensor.Float8E4M3FN
		for i := range rows {
			rows[i] = round(tensor.Float8E4M3FN, float64(float32(rows[i])*c.sw[i/testK%groups*bitInt(perChannel)]))
		}
	}
	c.define()
	return c
}

func bitInt(b bool) int { return int(bit(b)) }

func amaxOf(v []float64) float64 {
	amax := 0.0
	for _, x := range v {
		if math.IsNaN(x) {
			return math.NaN()
		}
		amax = max(amax, math.Abs(x))
	}
	return amax
}

// define computes the definition: q = sat(float32(x)·s), output = T((Σ q_x·q_w)·1/(s_x·s_w)), an operand that is not cast being
// its own value with scale 1.
func (c *call) define() {
	margin := int(math.Round(math.Log2(448 / float64(c.quantMax))))
	recipe := scaling.Recipe{HistoryLen: 1, Margin: margin, PowerOfTwo: c.variant.PowerOfTwo}
	dynamic := func(amax float64, keep float32) float32 {
		return float32(recipe.Scale(448, float32(amax), scaling.QuantScale(keep)))
	}
	quantize := func(x float64, s float32) float64 {
		return round(tensor.Float8E4M3FN, float64(float32(x)*s))
	}

	c.wantAmax = amaxOf(c.x.v)
	sx := c.sx
	switch c.variant.Input {
	case InputDynamic:
		sx = dynamic(c.wantAmax, c.sx)
	case InputOff:
		sx = 1
	}
	sw := slices.Clone(c.sw)
	groupOf := func(row int) int { return row * len(sw) / testN }
	if c.variant.Weight == WeightDynamic {
		rowsPer := testN / len(sw)
		for g := range sw {
			sw[g] = dynamic(amaxOf(c.w.v[g*rowsPer*testK:(g+1)*rowsPer*testK]), c.sw[g])
		}
	}
	rows := len(c.x.v) / testK
	for i := range rows {
		for j := range testN {
			sum := 0.0
			for l := range testK {
				x, w := c.x.v[i*testK+l], c.w.v[j*testK+l]
				if c.variant.Input != InputOff {
					x = quantize(x, sx)
				}
				if c.variant.Weight != WeightFloat8 {
					w = quantize(w, sw[groupOf(j)])
				}
				sum += x * w
			}
			c.wantOutput = append(c.wantOutput, sum/(float64(sx)*float64(sw[groupOf(j)])))
		}
	}
}

func (c call) run() (map[string]value, error) {
	scalar := func(x float32) value { return value{tensor.Float32, nil, []float64{float64(x)}} }
	sw := value{tensor.Float32, nil, nil}
	for _, s := range c.sw {
		sw.v = append(sw.v, float64(s))
	}
	if c.perChannel {
		sw.shape = []int{testN}
	}
	history := value{tensor.Float32, []int{3}, []float64{7, 7, 7}}
	return evaluate(Body(c.variant, MinOpset), map[string]value{
		"input": c.x, "weight": c.w, "scale_input": scalar(c.sx), "scale_weight": sw,
		"amax_history_input": history, "amax_history_weight": history,
		"scale_grad_output": scalar(1), "amax_history_grad_output": history,
		"initialized": {tensor.Bool, nil, []float64{1}},
	}, map[string]float32{AttrQuantMax: c.quantMax})
}

// same allows the last place of T and float32's rounding of the scales and the sum.
func same(dtype tensor.DType, got, want, largest float64) bool {
	if math.IsNaN(want) || math.IsNaN(got) {
		return math.IsNaN(want) && math.IsNaN(got)
	}
	if math.IsInf(want, 0) || math.IsInf(got, 0) {
		return got == round(dtype, want)
	}
	tolerance := map[tensor.DType]float64{tensor.Float32: 1e-6, tensor.Float16: 1e-3, tensor.BFloat16: 8e-3}[dtype]
	return math.Abs(got-want) <= tolerance*math.Abs(want)+1e-6*largest+1e-7
}

func TestEveryBodyComputesTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func(n int) []float64 {
		v := make([]float64, n)
		for i := range v {
			v[i] = 2 * r.NormFloat64()
		}
		return v
	}
	with := func(v []float64, special ...float64) []float64 {
		v = slices.Clone(v)
		copy(v[2:], special)
		return v
	}
	nan, inf := math.NaN(), math.Inf(1)
	inputs := []struct {
		name     string
		shape    []int
		x        []float64
		inWeight float64
	}{
		{"two axes", []int{3, testK}, random(3 * testK), 0},
		{"three axes", []int{2, 3, testK}, random(6 * testK), 0},
		{"one axis", []int{testK}, random(testK), 0},
		{"no rows", []int{0, testK}, nil, 0},
		{"zeros", []int{2, testK}, make([]float64, 2*testK), 0},
		{"a NaN", []int{2, testK}, with(random(2*testK), nan), 0},
		{"an Inf", []int{2, testK}, with(random(2*testK), inf), 0},
		{"both Infs", []int{2, testK}, with(random(2*testK), -inf, inf), 0},
		{"NaN and Inf", []int{2, testK}, with(random(2*testK), inf, nan), 0},
		{"an amax under the floor", []int{2, testK}, with(make([]float64, 2*testK), 1e-20), 0},
		{"large", []int{2, testK}, with(random(2*testK), 6e4), 0},
		{"a NaN in the weight", []int{2, testK}, random(2 * testK), nan},
		{"an Inf in the weight", []int{2, testK}, random(2 * testK), -inf},
	}
	for _, v := range Variants() {
		for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
			for _, perChannel := range []bool{false, true} {
				for _, in := range inputs {
					margin := bitInt(perChannel)
					name := fmt.Sprintf("%s %s per channel %v %s", v, dtype, perChannel, in.name)
					c := newCall(v, dtype, perChannel, QuantMax(margin), in.shape, in.x, in.inWeight)
					got, err := c.run()
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					amax, output := got["amax_input"], got["output"]
					if amax.dtype != tensor.Float32 || len(amax.shape) != 0 || !same(tensor.Float32, amax.v[0], c.wantAmax, 0) {
						t.Errorf("%s: amax_input %v, want %v", name, amax, c.wantAmax)
					}
					wantShape := append(slices.Clone(in.shape[:len(in.shape)-1]), testN)
					if output.dtype != dtype || !slices.Equal(output.shape, wantShape) {
						t.Errorf("%s: output %s%v, want %s%v", name, output.dtype, output.shape, dtype, wantShape)
						continue
					}
					largest := 0.0
					for _, w := range c.wantOutput {
						if !math.IsNaN(w) && !math.IsInf(w, 0) {
							largest = max(largest, math.Abs(w))
						}
					}
					for i := range output.v {
						if !same(dtype, output.v[i], c.wantOutput[i], largest) {
							t.Errorf("%s: output[%d] = %v, want %v", name, i, output.v[i], c.wantOutput[i])
							break
						}
					}
				}
			}
		}
	}
}

// The scale must be scaling's to the bit: calibrate and the runtimes make the same one from the same amax.
func TestDynamicScaleIsScalingsToTheBit(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var amaxes []float32
	for e := -60; e < 100; e++ { // 448/amax passes every power of two in sight, from both sides
		for _, m := range []float32{1, 448.0 / 256} {
			a := m * float32(math.Ldexp(1, e))
			amaxes = append(amaxes, a, math.Nextafter32(a, 0), math.Nextafter32(a, float32(math.Inf(1))))
		}
	}
	for range 2000 {
		amaxes = append(amaxes, float32(math.Ldexp(1+r.Float64(), r.IntN(200)-100)))
	}
	amaxes = append(amaxes, 0, float32(math.Inf(1)), math.MaxFloat32, math.SmallestNonzeroFloat32, 1e-12)
	for _, pow2 := range []bool{false, true} {
		for _, margin := range []int{0, 1, 5} {
			f := Body(Variant{Input: InputDynamic, PowerOfTwo: pow2}, MinOpset)
			recipe := scaling.Recipe{HistoryLen: 1, Margin: margin, PowerOfTwo: pow2}
			for _, a := range amaxes {
				one := value{tensor.Float32, []int{1, 1}, []float64{float64(a)}}
				w := value{tensor.Float8E4M3FN, []int{1, 1}, []float64{1}}
				keep := value{tensor.Float32, nil, []float64{17}}
				env, err := evaluate(f, map[string]value{"input": one, "weight": w, "scale_input": keep, "scale_weight": keep},
					map[string]float32{AttrQuantMax: QuantMax(margin)})
				if err != nil {
					t.Fatal(err)
				}
				if got, want := float32(env["x_scale"].v[0]), float32(recipe.Scale(448, a, 17)); got != want {
					t.Fatalf("power of two %v, margin %d, amax %g: scale %g, want %g", pow2, margin, a, got, want)
				}
			}
		}
	}
}

func TestAmaxFloorIsScalingsEpsilon(t *testing.T) {
	if amaxFloor != scaling.Epsilon {
		t.Errorf("amax floor %g, scaling's epsilon %g", amaxFloor, scaling.Epsilon)
	}
}

func TestBodyImportsTheModelsOpsetAndDeclaresEveryAttribute(t *testing.T) {
	f := Body(Variant{Input: InputDynamic, Weight: WeightDynamic, PowerOfTwo: true}, 23)
	if got := f.OpsetVersion(""); got != 23 {
		t.Errorf("opset %d, want 23", got)
	}
	node := Layer{Original: MatMul("w"), QuantMax: 448}.Node()
	for _, a := range node.Attributes {
		if !slices.ContainsFunc(f.Defaults, func(d *attribute) bool { return d.Name == a.Name && d.Kind == a.Kind }) {
			t.Errorf("attribute %q of a node is not declared", a.Name)
		}
	}
	if len(f.Inputs) != NumInputs || len(f.Outputs) != NumOutputs || f.Domain != Domain {
		t.Errorf("%q: %d inputs, %d outputs", f.Domain, len(f.Inputs), len(f.Outputs))
	}
	if float8.E4M3FNFormat.Max() != QuantMax(0) || QuantMax(2) != 112 {
		t.Errorf("quant_max %v and %v", QuantMax(0), QuantMax(2))
	}
}

func TestABodyDoesNotShareItsListsWithTheNext(t *testing.T) {
	f := Body(Variant{}, 19)
	f.Inputs[0], f.Outputs[0] = "a", "b"
	if g := Body(Variant{}, 19); g.Inputs[0] != "input" || g.Outputs[0] != "output" {
		t.Errorf("changing one body changed the next: %q, %q", g.Inputs[0], g.Outputs[0])
	}
}
