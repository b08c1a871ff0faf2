package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var inf, nan = float32(math.Inf(1)), float32(math.NaN())

// subnormal is the smallest step of float32.
const subnormal = 1.5e-45

// arguments are values over the whole range of float32, and the special ones.
func arguments(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	x := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 1e-30, -1e-30, 1e-45, 88.72, 88.73, 89, -87.3, -88, -100, -103.9, -104, -150, 150, 4, -4,
		9.1, -9.1, 1e30, -1e30, math.MaxFloat32, inf, -inf, nan}
	for len(x) < n {
		switch len(x) % 3 {
		case 0:
			x = append(x, float32(r.NormFloat64()))
		case 1:
			x = append(x, float32(r.NormFloat64()*30))
		default:
			x = append(x, float32(r.NormFloat64()*math.Exp(r.NormFloat64()*10)))
		}
	}
	return x[:n]
}

func TestFunctionsOfOne(t *testing.T) {
	x := arguments(100_003)
	for _, f := range []struct {
		name  string
		vec   func(dst, src []float32)
		exact func(float64) float64
		rel   float64
		abs   float64
	}{
		{"exp", Exp, math.Exp, 2e-7, subnormal},
		{"sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 4e-7, 1e-38},
		{"tanh", Tanh, math.Tanh, 4e-7, subnormal},
		{"erf", Erf, math.Erf, 5e-7, subnormal},
		{"sqrt", Sqrt, math.Sqrt, 6e-8, subnormal},
	} {
		forEach(t, f.name, func(t *testing.T) {
			got := make([]float32, len(x))
			f.vec(got, x)
			for i, x := range x {
				want := f.exact(float64(x))
				if g := float64(got[i]); !(math.Abs(g-want) <= f.rel*math.Abs(want)+f.abs) && float32(want) != got[i] && !(math.IsNaN(g) && math.IsNaN(want)) {
					t.Fatalf("%s(%v) = %v, want %v", f.name, x, got[i], want)
				}
			}
		})
	}
}

func TestOperatorsAreExact(t *testing.T) {
	a := arguments(1003)
	b := append(arguments(1003)[500:], arguments(1003)[:500]...)
	for _, f := range []struct {
		name   string
		vec    func(dst, a, b []float32)
		scalar func(dst, a []float32, b float32)
		exact  func(a, b float32) float32
	}{
		{"add", Add, AddScalar, func(a, b float32) float32 { return a + b }},
		{"sub", Sub, SubScalar, func(a, b float32) float32 { return a - b }},
		{"mul", Mul, MulScalar, func(a, b float32) float32 { return a * b }},
		{"div", Div, DivScalar, func(a, b float32) float32 { return a / b }},
		{"max", Max, MaxScalar, func(a, b float32) float32 { return max(a, b) }},
		{"min", Min, MinScalar, func(a, b float32) float32 { return min(a, b) }},
		{"sub from scalar", nil, SubFromScalar, func(a, b float32) float32 { return b - a }},
		{"div scalar by", nil, DivScalarBy, func(a, b float32) float32 { return b / a }},
	} {
		forEach(t, f.name, func(t *testing.T) {
			got := make([]float32, len(a))
			check := func(b func(i int) float32) {
				t.Helper()
				for i := range a {
					want := f.exact(a[i], b(i))
					if got[i] != want && !(got[i] != got[i] && want != want) {
						t.Fatalf("%s(%v, %v) = %v, want %v", f.name, a[i], b(i), got[i], want)
					}
				}
			}
			if f.vec != nil {
				f.vec(got, a, b)
				check(func(i int) float32 { return b[i] })
			}
			for _, s := range []float32{0, 1.5, -3e20, inf, nan} {
				f.scalar(got, a, s)
				check(func(int) float32 { return s })
			}
		})
	}
}

func TestAddScaledRoundsTheProductFirst(t *testing.T) {
	a := arguments(1003)
	start := append(arguments(1003)[500:], arguments(1003)[:500]...)
	forEach(t, "", func(t *testing.T) {
		for _, b := range []float32{0, 1.5, -3e20, inf, nan} {
			for _, n := range []int{0, 1, 15, 16, 17, 1003} {
				got := append([]float32(nil), start...)
				AddScaled(got[:n], a[:n], b)
				for i := range got {
					want := start[i]
					if i < n {
						want += float32(a[i] * b)
					}
					if got[i] != want && !(got[i] != got[i] && want != want) {
						t.Fatalf("%v + %v·%v = %v, want %v", start[i], a[i], b, got[i], want)
					}
				}
			}
		}
	})
}

func TestSums(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 100 {
		x := make([]float32, n)
		sum, squares, exps, most := 0.0, 0.0, 0.0, math.Inf(-1)
		for i := range x {
			x[i] = float32(r.NormFloat64())
			sum += float64(x[i])
			squares += math.Pow(float64(x[i])-0.5, 2)
			exps += math.Exp(float64(x[i]) - 1)
			most = max(most, float64(x[i]))
		}
		forEach(t, fmt.Sprint(n), func(t *testing.T) {
			near := func(name string, got float32, want float64) {
				if math.Abs(float64(got)-want) > 1e-5*(1+math.Abs(want)) {
					t.Errorf("%s of %d: %v, want %v", name, n, got, want)
				}
			}
			near("sum", Sum(x), sum)
			near("sum of squares", SumSquares(x, 0.5), squares)
			out := make([]float32, n)
			near("sum of exponentials", ExpSum(out, x, 1), exps)
			for i := range x {
				near("exponential", out[i], math.Exp(float64(x[i])-1))
			}
			if n > 0 && Maximum(x) != float32(most) {
				t.Errorf("maximum of %d: %v, want %v", n, Maximum(x), most)
			}
		})
	}
}

func TestExpSumFlushesWhatIsSubnormalAndKeepsNaN(t *testing.T) {
	x := make([]float32, 40)
	for i := range x {
		x[i] = float32(-80 - i)
	}
	x[33] = float32(math.Inf(-1))
	forEach(t, "", func(t *testing.T) {
		out := make([]float32, len(x))
		ExpSum(out, x, 0)
		for i, y := range out {
			if want := math.Exp(float64(x[i])); x[i] < -87.33 && y != 0 || x[i] >= -87.33 && math.Abs(float64(y)-want) > 2e-7*want {
				t.Errorf("e^%v = %v", x[i], y)
			}
		}
		x := append([]float32{nan}, x...)
		out = make([]float32, len(x))
		if sum := ExpSum(out, x, 0); sum == sum || out[0] == out[0] {
			t.Error("NaN is lost")
		}
	})
}

func TestMaximumKeepsNaN(t *testing.T) {
	for n := 1; n < 70; n++ {
		for at := range n {
			x := make([]float32, n)
			x[at] = nan
			forEach(t, "", func(t *testing.T) {
				if got := Maximum(x); got == got {
					t.Fatalf("maximum of %d elements with NaN at %d: %v", n, at, got)
				}
			})
		}
	}
}

func TestAnElementsPlaceDoesNotMatter(t *testing.T) {
	x := arguments(64)
	for name, f := range map[string]func(dst, src []float32){"exp": Exp, "sigmoid": Sigmoid, "tanh": Tanh, "erf": Erf} {
		forEach(t, name, func(t *testing.T) {
			whole := make([]float32, len(x))
			f(whole, x)
			for lo := range x {
				part := make([]float32, len(x)-lo)
				f(part, x[lo:])
				for i := range part {
					if math.Float32bits(part[i]) != math.Float32bits(whole[lo+i]) {
						t.Fatalf("%s(%v): %v at %d, %v at %d", name, x[lo+i], whole[lo+i], lo+i, part[i], i)
					}
				}
			}
		})
	}
}

func BenchmarkVec(b *testing.B) {
	x, y := make([]float32, 4096), make([]float32, 4096)
	for i := range x {
		x[i] = float32(i%100)/20 - 2.5
	}
	for _, f := range []struct {
		name string
		f    func()
	}{
		{"exp", func() { Exp(y, x) }}, {"sigmoid", func() { Sigmoid(y, x) }}, {"tanh", func() { Tanh(y, x) }}, {"erf", func() { Erf(y, x) }},
		{"add", func() { Add(y, x, y) }}, {"mulscalar", func() { MulScalar(y, x, 2) }}, {"sum", func() { Sum(x) }},
		{"sumsquares", func() { SumSquares(x, 1) }}, {"maximum", func() { Maximum(x) }}, {"expsum", func() { ExpSum(y, x, 3) }},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				f.f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(x)), "ns/element")
		})
	}
}
