package arith

import (
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// truth is a bool as it lies in memory.
func truth(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// test is the map1 of a question asked of every element; narrow types are asked for the float32 they stand for, once per code.
func test(d tensor.DType, ask func(float64) bool) map1 {
	switch d {
	case tensor.Float32:
		return run1(asks[float32](ask))
	case tensor.Float64:
		return run1(asks[float64](ask))
	case tensor.Float16, tensor.BFloat16:
		h := halfOf(d)
		return run1(func(dst []uint8, src []uint16) {
			buf := scratches.Get().(*scratch)
			defer scratches.Put(buf)
			for len(src) > 0 {
				n := min(chunk, len(src))
				h.widen(buf.a[:n], src[:n])
				asks[float32](ask)(dst[:n], buf.a[:n])
				dst, src = dst[n:], src[n:]
			}
		})
	}
	if f, ok := kernel.Float8Format(d); ok {
		var table [256]uint8
		for i := range table {
			table[i] = truth(ask(float64(f.Decode(uint8(i)))))
		}
		return run1(func(dst, src []uint8) {
			for i, v := range src {
				dst[i] = table[v]
			}
		})
	}
	return nil
}

func asks[T float](ask func(float64) bool) func(dst []uint8, src []T) {
	return func(dst []uint8, src []T) {
		dst = dst[:len(src)]
		for i, v := range src {
			dst[i] = truth(ask(float64(v)))
		}
	}
}

func isNaN(d tensor.DType) map1 { return test(d, math.IsNaN) }

func makeIsInf(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"detect_negative": graph.AttrInt, "detect_positive": graph.AttrInt}); err != nil {
		return nil, err
	}
	negative, positive := flag(s, "detect_negative", 1), flag(s, "detect_positive", 1)
	return apply(tensor.Bool, func(d tensor.DType) map1 {
		return test(d, func(v float64) bool {
			return positive && v > math.MaxFloat64 || negative && v < -math.MaxFloat64
		})
	}), nil
}
