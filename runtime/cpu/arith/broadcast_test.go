package arith

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// TestViewReadsWhatBroadcastingSays walks every element of odd shapes and asks the plan in pieces of odd lengths.
func TestViewReadsWhatBroadcastingSays(t *testing.T) {
	shapes := [][][]int{
		{{3, 5}, {5}, {3, 1}},
		{{2, 3, 4}, {3, 1}, {2, 1, 1}},
		{{1}, {7}, {}},
		{{2, 1, 3, 1}, {4, 1, 5}, {1, 1, 1, 5}},
		{{2, 600}, {600}, {2, 1}},
		{{3, 1, 700}, {3, 2, 1}, {2, 700}},
		{{5, 0}, {1}, {5, 1}},
		{{2, 2, 2, 2, 2}, {1, 2, 1, 2, 1}, {2, 1, 2, 1, 2}},
	}
	for _, ins := range shapes {
		out, err := kernel.Broadcast(ins...)
		if err != nil {
			t.Fatal(err)
		}
		p := newPlan(out, ins...)
		for k, in := range ins {
			src := make([]int, kernel.Count(in))
			for i := range src {
				src[i] = i
			}
			strides, outStrides := kernel.BroadcastStrides(in, out), kernel.Strides(out)
			want := func(i int) int {
				off := 0
				for a := range out {
					off += i / outStrides[a] % out[a] * strides[a]
				}
				return off
			}
			for _, step := range []int{1, 7, 333, 1024} {
				if p.n == 0 {
					continue
				}
				buf := buffer(p, k, src)
				for lo := 0; lo < p.n; lo += step {
					for i, v := range view(p, k, src, lo, min(lo+step, p.n), buf) {
						if v != want(lo+i) {
							t.Fatalf("%v as %v: element %d is read at %d, want %d", in, out, lo+i, v, want(lo+i))
						}
					}
				}
			}
		}
		seen := 0
		p.ranges(0, p.n, func(lo, hi int) {
			if lo != seen || hi <= lo || hi-lo > chunk {
				t.Fatalf("%v: range %d to %d after %d", out, lo, hi, seen)
			}
			seen = hi
		})
		if seen != p.n {
			t.Fatalf("%v: ranges end at %d of %d", out, seen, p.n)
		}
	}
}
