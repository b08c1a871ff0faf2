package linear

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// narrow is v as a tensor of d, and v rounded to what that tensor holds.
func narrow(d tensor.DType, shape []int, v []float32) (*kernel.Tensor, []float32) {
	held := make([]float32, len(v))
	copy(held, v)
	if d == tensor.Float32 {
		return kernel.FromSlice(d, shape, held), held
	}
	bits := make([]uint16, len(v))
	if d == tensor.Float16 {
		float8.NarrowFloat16(bits, v)
		float8.WidenFloat16(held, bits)
	} else {
		float8.NarrowBFloat16(bits, v)
		float8.WidenBFloat16(held, bits)
	}
	return kernel.FromSlice(d, shape, bits), held
}

// eps is half an ulp of a type, relative.
func eps(d tensor.DType) float64 {
	return map[tensor.DType]float64{tensor.Float32: 0x1p-24, tensor.Float16: 0x1p-11, tensor.BFloat16: 0x1p-8}[d]
}

// slowCast is the cast of one value, with its counts.
func slowCast(v, scale float32, c *runtime.Counts) float32 {
	p := v * scale
	q := float8.E4M3FNFromFloat32(p, float8.Saturate).Float32()
	c.Elements++
	if p == p && float8.E4M3FNFromFloat32(p, float8.NoSaturate).IsNaN() {
		c.Saturated++
	}
	if v == v && v != 0 && q == 0 {
		c.Flushed++
	}
	if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
		c.NonFinite++
	}
	return q
}

func slowAmax(v []float32) float32 {
	a := float32(0)
	for _, x := range v {
		if x != x {
			return x
		}
		a = max(a, float32(math.Abs(float64(x))))
	}
	return a
}

// slowScale is the scale of docs/FLOAT8LINEAR.md.
func slowScale(quantMax, amax, stored float32, pow2 bool) float32 {
	if !(amax > 0) || math.IsInf(float64(amax), 1) {
		return stored
	}
	s := quantMax * (1 / max(amax, 1e-12))
	if pow2 {
		p := float32(0x1p-126)
		for p*2 <= s {
			p *= 2
		}
		return p
	}
	return s
}

func layerNode(v ops.Variant, quantMax float32) *kernel.Site {
	n := ops.Layer{Name: "l", Variant: v, Input: "x", Weight: "w", ScaleInput: "sx", ScaleWeight: "sw", AmaxHistoryInput: "hx", AmaxHistoryWeight: "hw",
		ScaleGradOutput: "sg", AmaxHistoryGradOutput: "hg", Initialized: "i", Output: "y", AmaxInput: "a", Original: ops.MatMul(""), QuantMax: quantMax}.Node()
	return &kernel.Site{Node: n, Opset: 1, MayPack: func(int64) bool { return true }}
}

func TestFloat8LinearIsTheFormula(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, v := range ops.Variants() {
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
			for _, special := range [][]float32{nil, {nan}, {inf}, {-inf, nan}} {
				for _, perChannel := range []bool{false, true} {
					for _, threads := range []int{1, 3} {
						name := fmt.Sprintf("%v/%v/%v/perChannel=%t/%d", v, d, special, perChannel, threads)
						t.Run(name, func(t *testing.T) { testFormula(t, v, d, special, perChannel, threads, 7, 33, 29) })
					}
				}
			}
			t.Run(fmt.Sprintf("%v/%v/no rows", v, d), func(t *testing.T) { testFormula(t, v, d, nil, false, 1, 0, 33, 29) })
			t.Run(fmt.Sprintf("%v/%v/zeros", v, d), func(t *testing.T) { testFormula(t, v, d, []float32{0}, true, 1, 1, 5, 29) })
			t.Run(fmt.Sprintf("%v/%v/long", v, d), func(t *testing.T) { testFormula(t, v, d, nil, true, 2, 130, 40, 300) })
		}
	}
}

func testFormula(t *testing.T, v ops.Variant, d tensor.DType, special []float32, perChannel bool, threads, m, n, k int) {
	rng := rand.New(rand.NewPCG(uint64(m), uint64(len(special))))
	xs, ws := make([]float32, m*k), make([]float32, n*k)
	for i := range xs {
		xs[i] = float32(rng.NormFloat64() * 3)
	}
	for i := range ws {
		ws[i] = float32(rng.NormFloat64() * 0.1)
	}
	if m > 0 {
		xs[0], xs[1] = 20, 1e-6 // saturates, is flushed
	}
	for i, s := range special {
		xs[(m/2)*k+i*3] = s
	}
	const quantMax = 224
	groups := 1
	if perChannel {
		groups = n
	}
	scaleX, scaleW := float32(31.5), make([]float32, groups)
	for i := range scaleW {
		scaleW[i] = 900 + float32(i)*10
	}

	shape := []int{m, k}
	if m%2 == 0 && m > 0 {
		shape = []int{2, m / 2, k}
	}
	x, xs := narrow(d, shape, xs)
	var w *kernel.Tensor
	if v.Weight == ops.WeightFloat8 {
		codes := make([]uint8, n*k)
		for i, q := range ws {
			codes[i] = uint8(float8.E4M3FNFromFloat32(q*scaleW[i/k*groups/n], float8.Saturate))
		}
		w = kernel.FromSlice(tensor.Float8E4M3FN, []int{n, k}, codes)
	} else {
		w, ws = narrow(d, []int{n, k}, ws)
	}

	// The formula.
	amaxX := slowAmax(xs)
	sx := scaleX
	if v.Input == ops.InputDynamic {
		sx = slowScale(quantMax, amaxX, scaleX, v.PowerOfTwo)
	}
	sw := append([]float32(nil), scaleW...)
	amaxW := float32(0)
	if v.Weight == ops.WeightDynamic {
		for g := range sw {
			sw[g] = slowScale(quantMax, slowAmax(ws[g*(n/groups)*k:(g+1)*(n/groups)*k]), sw[g], v.PowerOfTwo)
		}
	}
	if v.Weight != ops.WeightFloat8 {
		amaxW = slowAmax(ws)
	}
	var countX, countW runtime.Counts
	qx := append([]float32(nil), xs...)
	if v.Input != ops.InputOff {
		for i, a := range xs {
			qx[i] = slowCast(a, sx, &countX)
		}
	}
	qw := make([]float32, n*k)
	for i := range qw {
		if v.Weight == ops.WeightFloat8 {
			qw[i] = float8.E4M3FN(w.Bytes[i]).Float32()
		} else {
			qw[i] = slowCast(ws[i], sw[i/k*groups/n], &countW)
		}
	}

	pool := kernel.NewPool(threads)
	for _, constantWeight := range []bool{false, true} {
		site := layerNode(v, quantMax)
		site.Constant = func(i int) *kernel.Tensor {
			if i == ops.InWeight && constantWeight {
				return w
			}
			return nil
		}
		o, err := NewFloat8Linear(site)
		if err != nil {
			t.Fatal(err)
		}
		c := &kernel.Call{Ctx: context.Background(), Pool: pool, Mem: kernel.NewArena(0), Out: make([]kernel.Value, 2), Wanted: []bool{true, true},
			In: []kernel.Value{x, w, kernel.FromSlice(tensor.Float32, nil, []float32{scaleX}), kernel.FromSlice(tensor.Float32, []int{groups}, scaleW)}}
		st, err := o.Run(c, Options{Counts: true})
		if err != nil {
			t.Fatal(err)
		}
		same := func(what string, got, want float32) {
			t.Helper()
			if got != want && (got == got || want == want) {
				t.Errorf("%s is %v, want %v", what, got, want)
			}
		}
		same("amax of the input", st.AmaxInput, amaxX)
		same("amax_input", kernel.Of[float32](c.Out[1].(*kernel.Tensor))[0], amaxX)
		same("amax of the weight", st.AmaxWeight, amaxW)
		if v.Input == ops.InputOff {
			countX = runtime.Counts{}
		}
		if st.Input != countX || st.Weight != countW {
			t.Errorf("counts are %+v and %+v, want %+v and %+v", st.Input, st.Weight, countX, countW)
		}
		y, _ := floats(c.Out[0].(*kernel.Tensor))
		if len(y) != m*n {
			t.Fatalf("%d elements, want %d", len(y), m*n)
		}
		for i := range m {
			for j := range n {
				sum, mag := 0.0, 0.0
				g := j * groups / n
				for l := range k {
					p := float64(qx[i*k+l]) * float64(qw[j*k+l])
					if v.Input == ops.InputOff {
						p = float64(qx[i*k+l]) * float64(qw[j*k+l]*(1/sw[g]))
					}
					sum += p
					mag += math.Abs(p)
				}
				if v.Input != ops.InputOff {
					inverse := float64(1 / float32(sx*sw[g]))
					sum, mag = sum*inverse, mag*inverse
				}
				got := float64(y[i*n+j])
				if sum != sum || math.IsInf(sum, 0) {
					if !(got != got && sum != sum || got == sum) {
						t.Fatalf("element %d,%d is %v, want %v", i, j, got, sum)
					}
					continue
				}
				// A sum of k products in float32, two roundings more, and that of T.
				if bound := mag*float64(k+3)*0x1p-24 + math.Abs(sum)*eps(d) + 0x1p-25; !(math.Abs(got-sum) <= bound) {
					t.Fatalf("element %d,%d is %v, want %v", i, j, got, sum)
				}
			}
		}
	}
}

// A row has the same bits alone, among others, at another place and under any number of threads, and what is fused has the bits of the
// operators one after another.
func TestFloat8LinearRowsAreIndependentAndFusedIsUnfused(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const m, n, k = 150, 70, 300
	act := func(v []float32) {
		for i, x := range v {
			v[i] = x * x
		}
	}
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float16, tensor.BFloat16} {
		xs, codes, biases := make([]float32, m*k), make([]uint8, n*k), make([]float32, n)
		for i := range xs {
			xs[i] = float32(rng.NormFloat64())
		}
		for i := range codes {
			codes[i] = uint8(rng.IntN(0x7F)) | uint8(rng.IntN(2))<<7
		}
		for i := range biases {
			biases[i] = float32(rng.NormFloat64())
		}
		x, _ := narrow(d, []int{m, k}, xs)
		bias, biasValues := narrow(d, []int{n}, biases)
		w := kernel.FromSlice(tensor.Float8E4M3FN, []int{n, k}, codes)
		o, err := NewFloat8Linear(layerNode(ops.Variant{}, 448))
		if err != nil {
			t.Fatal(err)
		}
		run := func(x *kernel.Tensor, threads int, f Fuse) []float32 {
			c := call(2, x, w, f32(nil, 100), f32(nil, 3))
			c.Pool = kernel.NewPool(threads)
			if _, err := o.Run(c, Options{Fuse: f}); err != nil {
				t.Fatal(err)
			}
			v, _ := floats(c.Out[0].(*kernel.Tensor))
			return v
		}
		whole := run(x, 1, Fuse{})
		for threads := 1; threads <= 4; threads++ {
			if !sameBits(run(x, threads, Fuse{}), whole) {
				t.Errorf("%v: %d threads give other bits", d, threads)
			}
		}
		size := kernel.ElemSize(d)
		for _, rows := range [][2]int{{0, 1}, {77, 78}, {m - 1, m}, {3, 20}, {11, 130}} {
			part := &kernel.Tensor{DType: d, Shape: []int{rows[1] - rows[0], k}, Bytes: x.Bytes[rows[0]*k*size : rows[1]*k*size]}
			if !sameBits(run(part, 2, Fuse{}), whole[rows[0]*n:rows[1]*n]) {
				t.Errorf("%v: rows %v alone have other bits", d, rows)
			}
		}
		want := append([]float32(nil), whole...)
		for i := range want {
			want[i] += biasValues[i%n]
		}
		_, want = narrow(d, []int{m, n}, want)
		act(want)
		_, want = narrow(d, []int{m, n}, want)
		if !sameBits(run(x, 2, Fuse{Bias: bias, Act: act}), want) {
			t.Errorf("%v: fused gives other bits", d)
		}
	}
}

// Calibration replaces scales between runs: a weight that is held packed with its scale follows.
func TestFloat8LinearReadsItsScalesAtEveryRun(t *testing.T) {
	v := ops.Variant{Input: ops.InputOff}
	w := kernel.FromSlice(tensor.Float8E4M3FN, []int{1, 2}, []uint8{0x38, 0x40}) // 1, 2
	site := layerNode(v, 448)
	site.Constant = func(i int) *kernel.Tensor {
		if i == ops.InWeight {
			return w
		}
		return nil
	}
	o, err := NewFloat8Linear(site)
	if err != nil {
		t.Fatal(err)
	}
	for _, scale := range []float32{1, 2, 4, 1} {
		c := call(2, kernel.FromSlice(tensor.Float32, []int{2}, []float32{3, 5}), w, kernel.FromSlice(tensor.Float32, nil, []float32{1}), kernel.FromSlice(tensor.Float32, nil, []float32{scale}))
		if _, err := o.Run(c, Options{}); err != nil {
			t.Fatal(err)
		}
		if got := kernel.Of[float32](c.Out[0].(*kernel.Tensor))[0]; got != 13/scale {
			t.Errorf("scale %v: %v, want %v", scale, got, 13/scale)
		}
	}
}

func TestFloat8LinearJoinsAmaxesInOrder(t *testing.T) {
	v := ops.Variant{Input: ops.InputDynamic, Weight: ops.WeightDynamic}
	o, err := NewFloat8Linear(layerNode(v, 448))
	if err != nil {
		t.Fatal(err)
	}
	one := func(x float32) *kernel.Tensor { return kernel.FromSlice(tensor.Float32, nil, []float32{x}) }
	c := call(2, kernel.FromSlice(tensor.Float32, []int{1, 2}, []float32{3, -5}), kernel.FromSlice(tensor.Float32, []int{1, 2}, []float32{0.5, 0.25}), one(1), one(1))
	var seen [][]float32
	st, err := o.Run(c, Options{Counts: true, AllReduceMax: func(_ context.Context, a []float32) error {
		seen = append(seen, append([]float32(nil), a...))
		a[0] *= 8 // another worker's
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(seen) != "[[5] [0.5]]" || st.AmaxInput != 40 || st.AmaxWeight != 4 {
		t.Errorf("reduced %v, and saw %+v", seen, st)
	}
	if got := kernel.Of[float32](c.Out[0].(*kernel.Tensor))[0]; math.Abs(float64(got)-224/(11.2*112)) > 1e-6 {
		t.Errorf("output %v, want %v: codes 32 and -56 by 56 and 28, scales 448/40 and 448/4", got, 224/(11.2*112))
	}
	refuse := fmt.Errorf("gone")
	if _, err := o.Run(c, Options{AllReduceMax: func(context.Context, []float32) error { return refuse }}); err != refuse {
		t.Errorf("error %v, want %v", err, refuse)
	}
}

func TestFloat8LinearRefuses(t *testing.T) {
	o, err := NewFloat8Linear(layerNode(ops.Variant{}, 448))
	if err != nil {
		t.Fatal(err)
	}
	x := kernel.FromSlice(tensor.Float32, []int{1, 2}, []float32{1, 2})
	w := kernel.FromSlice(tensor.Float8E4M3FN, []int{3, 2}, make([]uint8, 6))
	s, s2 := kernel.FromSlice(tensor.Float32, nil, []float32{1}), kernel.FromSlice(tensor.Float32, []int{2}, []float32{1, 1})
	for name, in := range map[string][]kernel.Value{
		"a scalar input":             {s, w, s, s},
		"an input of integers":       {kernel.FromSlice(tensor.Int32, []int{1, 2}, []int32{1, 2}), w, s, s},
		"rows of another length":     {kernel.FromSlice(tensor.Float32, []int{1, 3}, []float32{1, 2, 3}), w, s, s},
		"an unquantized weight":      {x, x, s, s},
		"two scales of the input":    {x, w, s2, s},
		"two scales of three rows":   {x, w, s, s2},
		"no scale of the weight":     {x, w, s},
		"an input that is left out":  {nil, w, s, s},
		"a scale that is no float32": {x, w, kernel.FromSlice(tensor.Int32, nil, []int32{1}), s},
	} {
		if _, err := o.Run(call(2, in...), Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
