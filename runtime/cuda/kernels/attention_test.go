package kernels

import (
	"fmt"
	"math"
	"testing"
)

func TestAttention(t *testing.T) {
	type shape struct{ batch, heads, kv, queries, keys, head int64 }
	for _, typ := range []Type{BF16, F32} {
		t.Run(typ.String(), func(t *testing.T) {
			onGPU(t, func(g *gpu) {
				for number, sh := range []shape{
					{1, 1, 1, 1, 1, 64}, {2, 4, 2, 64, 64, 64}, {1, 2, 2, 65, 65, 128}, {2, 3, 1, 100, 130, 128}, {1, 2, 2, 1, 300, 64}, {1, 2, 1, 200, 200, 128},
					{2, 2, 2, 17, 40, 16}, {1, 3, 3, 50, 50, 80}, {1, 1, 1, 9, 33, 5}, {1, 2, 2, 77, 200, 64},
					{1, 1, 1, 1, 1, 128}, {1, 2, 1, 257, 515, 128}, {2, 9, 3, 130, 260, 128}, {1, 1, 1, 40, 1000, 128}, {1, 1, 1, 300, 60, 128},
					{1, 1, 1, 1, 1, 64}, {1, 2, 1, 257, 515, 64}, {2, 9, 3, 130, 260, 64}, {1, 1, 1, 40, 1000, 64}, {1, 1, 1, 300, 60, 64},
				} {
					if testing.Short() && sh.batch*sh.heads*sh.queries*sh.keys > 40_000 {
						continue
					}
					for variant := range 6 {
						what := fmt.Sprintf("%v %+v variant %d", typ, sh, variant)
						// In memory [batch, position, heads, head], as projections leave them.
						q, qv := g.normal(typ, sh.batch*sh.queries*sh.heads*sh.head, 1)
						k, kv := g.normal(typ, sh.batch*sh.keys*sh.kv*sh.head, 1)
						v, vv := g.normal(typ, sh.batch*sh.keys*sh.kv*sh.head, 1)
						n := sh.batch * sh.queries * sh.heads * sh.head
						a := Attention{T: typ, Q: q, K: k, V: v, O: g.alloc(n * typ.Size()), Batch: sh.batch, Heads: sh.heads, KVHeads: sh.kv, Head: sh.head,
							Queries: sh.queries, Keys: sh.keys, Scale: float32(1 / math.Sqrt(float64(sh.head))),
							QStrides: [3]int64{sh.queries * sh.heads * sh.head, sh.head, sh.heads * sh.head},
							KStrides: [3]int64{sh.keys * sh.kv * sh.head, sh.head, sh.kv * sh.head}}
						a.OStrides, a.VStrides = a.QStrides, a.KStrides
						if variant == 4 { // the largest scores are the smallest products
							a.Scale = -a.Scale
						}
						if want := typ == BF16 && (sh.head == 64 || sh.head == 128) && variant != 4; a.TensorCores() != want {
							g.Errorf("%s: tensor cores %t, want %t", what, a.TensorCores(), want)
						}
						add := func(b, h, i, j int64) float64 { return 0 }
						if variant&1 != 0 {
							a.Causal, a.Offset = true, sh.keys-sh.queries
						}
						switch variant {
						case 2: // added, one for each head
							maskType := []Type{F32, BF16, F16}[number/3%3]
							m, mv := g.normal(maskType, sh.heads*sh.queries*sh.keys, 2)
							a.Mask = Mask{m, maskType, [4]int64{0, sh.queries * sh.keys, sh.keys, 1}}
							add = func(_, h, i, j int64) float64 { return float64(mv[(h*sh.queries+i)*sh.keys+j]) }
						case 5: // keys at the beginning and end left out by the lowest number, to which scores add nothing: rows of it alone weigh keys alike
							mv := make([]float32, sh.keys)
							for i := range mv {
								if i < len(mv)/3 || i > len(mv)*3/4 {
									mv[i] = -math.MaxFloat32
								}
							}
							a.Causal = true
							a.Mask = Mask{g.put(bits(F32, mv)), F32, [4]int64{0, 0, 0, 1}}
							add = func(_, _, _, j int64) float64 { return float64(mv[j]) }
						case 3: // boolean, one for each batch, and causal; the first key may be out, so that rows see nothing
							mv := make([]float32, sh.batch*sh.keys)
							for i := range mv {
								mv[i] = float32(g.rnd.IntN(2))
							}
							a.Mask = Mask{g.put(bits(Bool, mv)), Bool, [4]int64{sh.keys, 0, 0, 1}}
							add = func(b, _, _, j int64) float64 {
								if mv[b*sh.keys+j] == 0 {
									return math.Inf(-1)
								}
								return 0
							}
						}
						want := make([]float64, n)
						s := make([]float64, sh.keys)
						for b := range sh.batch {
							for h := range sh.heads {
								for i := range sh.queries {
									top, sum := math.Inf(-1), 0.0
									row := func(of []float32, strides [3]int64, h, i int64) []float32 {
										return of[b*strides[0]+h*strides[1]+i*strides[2]:][:sh.head]
									}
									qr := row(qv, a.QStrides, h, i)
									for j := range sh.keys {
										s[j] = math.Inf(-1)
										if a.Causal && j > i+a.Offset {
											continue
										}
										kr := row(kv, a.KStrides, h/(sh.heads/sh.kv), j)
										dot := 0.0
										for d := range kr {
											dot += float64(qr[d]) * float64(kr[d])
										}
										s[j] = dot*float64(a.Scale) + add(b, h, i, j)
										top = max(top, s[j])
									}
									if math.IsInf(top, -1) {
										continue // zeros
									}
									out := want[b*a.OStrides[0]+h*a.OStrides[1]+i*a.OStrides[2]:]
									for j := range s {
										s[j] = math.Exp(s[j] - top)
										sum += s[j]
									}
									for j := range s {
										vr := row(vv, a.KStrides, h/(sh.heads/sh.kv), int64(j))
										for d := range vr {
											out[d] += s[j] / sum * float64(vr[d])
										}
									}
								}
							}
						}
						tol := tolerance(typ)
						if a.TensorCores() {
							tol = tolAttention
						}
						for _, hopper := range []bool{false, true} {
							if hopper && !(g.Set.hopper() && a.hopper()) {
								continue
							}
							what := fmt.Sprintf("%s, Hopper's kernel %t", what, hopper)
							a.O, a.Codes = g.alloc(n*typ.Size()), g.codes(E4M3+Type(variant%2), n, 300)
							g.must(g.attend(a, hopper, 0))
							y := g.read(typ, a.O, n)
							g.near(what, y, want, tol)
							g.sameCodes(what, a.Codes, y, 300, sh.heads*sh.head)
							if testing.Short() {
								continue
							}
							// Without the output the codes are the same.
							a.O, a.Codes = 0, g.codes(a.Codes.Format, n, 300)
							g.must(g.attend(a, hopper, 0))
							g.sameCodes(what+" codes alone", a.Codes, y, 300, sh.heads*sh.head)
						}
					}
				}
			})
		})
	}
}
