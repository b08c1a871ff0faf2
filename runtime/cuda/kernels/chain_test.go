package kernels

import (
	"fmt"
	"math"
	"testing"
)

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// apply is the reference of the instructions.
func apply(op Op, x, z float64) float64 {
	switch op {
	case OpLoad:
		return z
	case OpAdd:
		return x + z
	case OpSub:
		return x - z
	case OpRSub:
		return z - x
	case OpMul:
		return x * z
	case OpDiv:
		return x / z
	case OpRDiv:
		return z / x
	case OpPow:
		return math.Pow(x, z)
	case OpRPow:
		return math.Pow(z, x)
	case OpMin:
		return min(x, z)
	case OpMax:
		return max(x, z)
	case OpLess:
		return truth(x < z)
	case OpLessEqual:
		return truth(x <= z)
	case OpGreater:
		return truth(x > z)
	case OpGreaterEqual:
		return truth(x >= z)
	case OpEqual:
		return truth(x == z)
	case OpAnd:
		return truth(x != 0 && z != 0)
	case OpOr:
		return truth(x != 0 || z != 0)
	case OpXor:
		return truth((x != 0) != (z != 0))
	case OpPRelu:
		if x < 0 {
			return x * z
		}
		return x
	case OpNeg:
		return -x
	case OpAbs:
		return math.Abs(x)
	case OpSqrt:
		return math.Sqrt(x)
	case OpReciprocal:
		return 1 / x
	case OpExp:
		return math.Exp(x)
	case OpLog:
		return math.Log(x)
	case OpTanh:
		return math.Tanh(x)
	case OpSigmoid:
		return sigmoid(x)
	case OpErf:
		return math.Erf(x)
	case OpSin:
		return math.Sin(x)
	case OpCos:
		return math.Cos(x)
	case OpRelu:
		return max(x, 0)
	case OpFloor:
		return math.Floor(x)
	case OpCeil:
		return math.Ceil(x)
	case OpRound:
		return math.RoundToEven(x)
	case OpSign:
		if x != x {
			return x
		}
		return truth(x > 0) - truth(x < 0)
	case OpNot:
		return truth(x == 0)
	case OpSquare:
		return x * x
	case OpSoftplus:
		return math.Log1p(math.Exp(x))
	case OpGELUErf:
		return geluErf(x)
	case OpGELUTanh:
		return geluTanh(x)
	case OpSiLU:
		return x * sigmoid(x)
	case OpRoundF16:
		return float64(values(F16, bits(F16, []float32{float32(x)}))[0])
	case OpRoundBF16:
		return float64(values(BF16, bits(BF16, []float32{float32(x)}))[0])
	case OpIsNaN:
		return truth(x != x)
	case OpRsqrt:
		return 1 / math.Sqrt(x)
	}
	panic(fmt.Sprint("no reference of instruction ", op))
}

func TestEveryInstruction(t *testing.T) {
	onGPU(t, func(g *gpu) {
		const n = 5003
		var ops []Op
		for op := OpLoad; op <= OpPRelu; op++ {
			if op != OpSave && op != OpKeepIf {
				ops = append(ops, op)
			}
		}
		for op := OpNeg; op < opEnd; op++ {
			ops = append(ops, op)
		}
		x, xv := g.normal(F32, n, 3)
		z, zv := g.normal(F32, n, 2)
		for i := range xv {
			switch {
			case i%7 == 0:
				xv[i] = zv[i]
			case i%11 == 0:
				xv[i] = 0
			case i%13 == 0:
				zv[i] = 0
			case i%501 == 500:
				xv[i] = float32(math.NaN())
			}
		}
		g.must(g.c.Write(x, bits(F32, xv), 0))
		g.must(g.c.Write(z, bits(F32, zv), 0))
		for _, op := range ops {
			c := Chain{Dims: []int64{n}, Inputs: []ChainInput{{x, F32, []int64{1}}, {z, F32, []int64{1}}}, Y: g.alloc(4 * n), T: F32}
			st := Step{Op: op}
			if op < OpNeg {
				st.With = Input(1)
			}
			c.Steps = []Step{st}
			g.must(g.Chain(c, 0))
			want := make([]float64, n)
			for i := range want {
				want[i] = apply(op, float64(xv[i]), float64(zv[i]))
			}
			tol := tolFloat32
			if op == OpPow || op == OpRPow {
				tol = 1e-5 // powf: 9 ulp
			}
			g.near(fmt.Sprintf("instruction %d", op), g.read(F32, c.Y, n), want, tol)
		}
	})
}

// TestChains runs longer programs with broadcasts, types, saved values and fused codes.
func TestChains(t *testing.T) {
	onGPU(t, func(g *gpu) {
		shapes := [][]int64{{1}, {9}, {4, 5, 6}, {3, 128}, {2, 3, 4, 5, 6}, {7, 1, 33}}
		for _, dims := range shapes {
			for _, out := range []Type{F32, F16, BF16} {
				what := fmt.Sprintf("%v to %v", dims, out)
				n := product(dims)
				a, av := g.normal(BF16, n, 1)
				row := dims[len(dims)-1]
				b, bv := g.normal(F32, row, 1)
				col := make([]int64, len(dims))
				for i := range col {
					col[i] = dims[i]
				}
				col[len(col)-1] = 1
				c, cv := g.normal(F16, product(col), 1)
				keep := make([]float32, n)
				for i := range keep {
					keep[i] = float32(g.rnd.IntN(2))
				}
				count := make([]float32, n)
				for i := range count {
					count[i] = float32(g.rnd.IntN(100))
				}
				full := Strides(dims)
				rowS, colS := make([]int64, len(dims)), Strides(col)
				rowS[len(dims)-1], colS[len(dims)-1] = 1, 0
				ch := Chain{Dims: dims, T: out, Y: g.alloc(n * out.Size()), Codes: g.codes(E4M3, n, 21),
					Inputs: []ChainInput{{a, BF16, full}, {b, F32, rowS}, {c, F16, colS}, {g.put(bits(Bool, keep)), Bool, full}, {g.put(bits(I64, count)), I64, full}},
					Steps: []Step{
						{OpMul, Input(1)}, {OpSave, Saved(0)}, {OpAdd, Input(2)}, {OpSave, Saved(2)}, {Op: OpTanh}, {OpMul, Constant(3)}, {OpSave, Saved(1)},
						{OpAdd, Saved(0)}, {OpSub, Saved(1)}, {OpAdd, Saved(1)}, {OpKeepIf, Input(3)}, {OpAdd, Input(4)},
					}}
				g.must(g.Chain(ch, 0))
				want := make([]float64, n)
				for i := range want {
					s0 := float64(av[i]) * float64(bv[int64(i)%row])
					s2 := s0 + float64(cv[int64(i)/row])
					v := s0 + 3*math.Tanh(s2)
					if keep[i] == 0 {
						v = s2
					}
					want[i] = v + float64(count[i])
				}
				y := g.read(out, ch.Y, n)
				tol := tolerance(out)
				if out == F16 {
					tol = 4e-4
				}
				g.near(what, y, want, tol)
				g.sameCodes(what, ch.Codes, y, 21, row)
				// Without the output, and in rows that end on 16.
				q := g.codes(E4M3, n/row*(row+16), 21)
				q.Ld = (row + 15) / 16 * 16
				ch.Y, ch.Codes = 0, q
				g.must(g.Chain(ch, 0))
				g.sameCodes(what+" codes alone", q, y, 21, row)
			}
		}
	})
}

func TestChainInPlaceAndBoolean(t *testing.T) {
	onGPU(t, func(g *gpu) {
		const n = 1001
		x, v := g.normal(F32, n, 1)
		y := g.alloc(n)
		in := []ChainInput{{x, F32, []int64{1}}}
		g.must(g.Chain(Chain{Dims: []int64{n}, Inputs: in, Steps: []Step{{OpGreater, Constant(0.5)}}, Y: y, T: Bool}, 0))
		g.must(g.Chain(Chain{Dims: []int64{n}, Inputs: in, Steps: []Step{{OpAdd, Constant(1)}}, Y: x, T: F32}, 0))
		got, flags := g.read(F32, x, n), g.get(y, n)
		for i, w := range v {
			if got[i] != w+1 || flags[i] != byte(truth(w > 0.5)) {
				g.Fatalf("element %d: %v and %d of %v", i, got[i], flags[i], w)
			}
		}
		for _, bad := range []Chain{
			{Dims: []int64{4}, T: F32},
			{Dims: []int64{4}, T: F32, Inputs: in, Steps: []Step{{OpAdd, Input(1)}}},
			{Dims: []int64{4}, T: F32, Inputs: in, Steps: []Step{{OpNeg, Constant(1)}}},
			{Dims: []int64{4}, T: F32, Inputs: in, Steps: []Step{{Op: 99}}},
			{Dims: []int64{4}, T: I64, Inputs: in},
			{Dims: []int64{4, 4}, T: F32, Inputs: in},
			{Dims: []int64{4}, T: F32, Inputs: in, Codes: Codes{To: y, Format: E4M3, Ld: 3}},
		} {
			if err := g.Chain(bad, 0); err == nil {
				g.Errorf("%+v: no error", bad)
			}
		}
	})
}
