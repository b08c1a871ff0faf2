package gemm

import (
	"math/bits"
	"sync"
)

// floats holds scratch by the power of two that bounds its length. What a run does not need any more serves the next one, and the garbage
// collector takes what nobody needs.
var floats [48]sync.Pool

// getFloats is at least n floats of undefined content.
func getFloats(n int) *[]float32 {
	class := bits.Len(uint(max(n, 1) - 1))
	if v, ok := floats[class].Get().(*[]float32); ok {
		return v
	}
	s := make([]float32, 1<<class)
	return &s
}

func putFloats(s *[]float32) { floats[bits.Len(uint(len(*s)-1))].Put(s) }
