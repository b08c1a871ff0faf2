package kernels

import (
	"errors"
	"fmt"
	"testing"
)

// copyElements copies elements one by one: the reference of every copy.
func copyElements(dst, src []byte, dims, dstStrides, srcStrides []int64, size int64) {
	at := make([]int64, len(dims))
	for {
		var from, to int64
		for d, i := range at {
			from += i * srcStrides[d]
			to += i * dstStrides[d]
		}
		copy(dst[to*size:(to+1)*size], src[from*size:])
		d := len(dims) - 1
		for ; d >= 0; d-- {
			at[d]++
			if at[d] < dims[d] {
				break
			}
			at[d] = 0
		}
		if d < 0 {
			return
		}
	}
}

func (g *gpu) randomBytes(n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.rnd.Uint32())
	}
	return b
}

func TestPermute(t *testing.T) {
	onGPU(t, func(g *gpu) {
		shapes := [][]int64{{7}, {33, 65}, {2, 100, 17}, {3, 5, 40, 50}, {2, 3, 20, 5, 36}, {64, 64}, {4, 16, 32, 128}, {1, 5, 1, 70, 80}}
		for _, dims := range shapes {
			for range 12 {
				perm := g.rnd.Perm(len(dims))
				size := int64(1) << g.rnd.IntN(5)
				n := product(dims)
				src := g.randomBytes(n * size)
				want := make([]byte, n*size)
				from := Strides(dims)
				shape, read := make([]int64, len(dims)), make([]int64, len(dims))
				for i, p := range perm {
					shape[i], read[i] = dims[p], from[p]
				}
				copyElements(want, src, shape, Strides(shape), read, size)
				dst := g.alloc(n * size)
				g.must(g.Permute(dst, g.put(src), dims, perm, size, 0))
				if got := g.get(dst, n*size); string(got) != string(want) {
					g.Errorf("permute %v by %v, %d bytes: wrong", dims, perm, size)
				}
			}
		}
		var size *SizeError
		if err := g.Permute(0, 0, []int64{2, 3}, []int{0, 0}, 4, 0); !errors.As(err, &size) {
			g.Errorf("an order that is no permutation: %v", err)
		}
	})
}

// TestCopyOfRandomViews copies slices, broadcasts and parts of a concatenation, with everything around them left as it was.
func TestCopyOfRandomViews(t *testing.T) {
	onGPU(t, func(g *gpu) {
		for range 150 {
			r := 1 + g.rnd.IntN(5)
			dims, srcShape, dstShape := make([]int64, r), make([]int64, r), make([]int64, r)
			srcStrides, dstStrides := make([]int64, r), make([]int64, r)
			for d := range dims {
				dims[d] = 1 + g.rnd.Int64N(12)
				srcShape[d], dstShape[d] = dims[d]+g.rnd.Int64N(3), dims[d]+g.rnd.Int64N(3)
			}
			copy(srcStrides, Strides(srcShape))
			copy(dstStrides, Strides(dstShape))
			if g.rnd.IntN(3) == 0 {
				srcStrides[g.rnd.IntN(r)] = 0
			}
			size := int64(1) << g.rnd.IntN(5)
			src, dst := g.randomBytes(product(srcShape)*size), g.randomBytes(product(dstShape)*size)
			s, d := g.put(src), g.put(dst)
			var srcOff, dstOff int64
			for k := range dims {
				srcOff += (srcShape[k] - dims[k]) * srcStrides[k]
				dstOff += (dstShape[k] - dims[k]) * dstStrides[k]
			}
			copyElements(dst[dstOff*size:], src[srcOff*size:], dims, dstStrides, srcStrides, size)
			g.must(g.Copy(View{d.Add(dstOff * size), dstStrides}, View{s.Add(srcOff * size), srcStrides}, dims, size, 0))
			if got := g.get(d, int64(len(dst))); string(got) != string(dst) {
				g.Fatalf("copy of %v, strides %v to %v, %d bytes: wrong", dims, srcStrides, dstStrides, size)
			}
		}
	})
}

func TestGather(t *testing.T) {
	onGPU(t, func(g *gpu) {
		for _, typ := range []Type{I32, I64} {
			for _, bytes := range []int64{1, 6, 24, 4096} {
				const outer, axis, count = 3, 50, 77
				src := g.randomBytes(outer * axis * bytes)
				index := make([]float32, count)
				for i := range index {
					index[i] = float32(g.rnd.IntN(2*axis) - axis)
				}
				want := make([]byte, outer*count*bytes)
				for o := range int64(outer) {
					for i, k := range index {
						at := (int64(k) + axis) % axis
						copy(want[(o*count+int64(i))*bytes:][:bytes], src[(o*axis+at)*bytes:])
					}
				}
				dst, failed := g.alloc(int64(len(want))), g.put(make([]byte, 4))
				p := g.put(src)
				g.must(g.Gather(dst, p, g.put(bits(typ, index)), typ, outer, axis, count, bytes, failed, 0))
				if string(g.get(dst, int64(len(want)))) != string(want) || g.get(failed, 1)[0] != 0 {
					g.Errorf("gather of %d bytes by %v: wrong", bytes, typ)
				}
				index[5] = axis
				g.must(g.Gather(dst, p, g.put(bits(typ, index)), typ, outer, axis, count, bytes, failed, 0))
				if g.get(failed, 1)[0] != 1 || g.get(dst.Add(5*bytes), 1)[0] != 0 {
					g.Errorf("gather of %d bytes by %v: an index out of range went unseen", bytes, typ)
				}
			}
		}
	})
}

func TestCopyBeyondFiveDimensionsIsAnError(t *testing.T) {
	onGPU(t, func(g *gpu) {
		dims := []int64{2, 2, 2, 2, 2, 2}
		var size *SizeError
		err := g.Copy(View{0, Strides(dims)}, View{0, []int64{1, 2, 4, 8, 16, 32}}, dims, 4, 0)
		if !errors.As(err, &size) {
			g.Error(fmt.Errorf("six dimensions reversed: %w", err))
		}
	})
}
