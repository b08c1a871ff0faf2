package layout

import (
	"fmt"
	"math"
	"math/bits"
	"math/cmplx"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// transform computes discrete Fourier transforms of one length, X[k] = Σ x[n]·exp(∓2πi·nk/N), without a factor. A power of two goes by
// Cooley and Tukey's halving; any other length becomes a convolution of such a length (Bluestein, 1970).
type transform struct {
	n     int
	roots []complex128 // exp(∓2πi·k/N), for a power of two the first half
	// For other lengths: the chirp exp(∓πi·k²/N), and the transform of its mirrored conjugate at the length inner.n.
	chirp, filter []complex128
	inner, back   *transform
}

func newTransform(n int, inverse bool) *transform {
	sign := -1.0
	if inverse {
		sign = 1
	}
	t := &transform{n: n}
	if n&(n-1) == 0 {
		t.roots = make([]complex128, n/2)
		for k := range t.roots {
			t.roots[k] = root(sign*2*math.Pi, k, n)
		}
		return t
	}
	m := 1 << bits.Len(uint(2*n-2))
	t.inner, t.back = newTransform(m, false), newTransform(m, true)
	t.chirp, t.filter = make([]complex128, n), make([]complex128, m)
	for k := range n {
		// k² mod 2n keeps the angle exact however long the signal is.
		t.chirp[k] = root(sign*math.Pi, int(mulMod(uint64(k), uint64(k), uint64(2*n))), n)
		t.filter[k] = cmplx.Conj(t.chirp[k])
		if k > 0 {
			t.filter[m-k] = t.filter[k]
		}
	}
	t.inner.run(t.filter, nil)
	return t
}

func mulMod(a, b, m uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	_, r := bits.Div64(hi%m, lo, m)
	return r
}

// root is exp(i·turn·k/n).
func root(turn float64, k, n int) complex128 {
	sin, cos := math.Sincos(turn * float64(k) / float64(n))
	return complex(cos, sin)
}

// spare is the length of the second argument of run.
func (t *transform) spare() int {
	if t.inner == nil {
		return 0
	}
	return t.inner.n
}

// run transforms x in place.
func (t *transform) run(x, spare []complex128) {
	if t.inner == nil {
		t.halve(x)
		return
	}
	clear(spare)
	for k, v := range x {
		spare[k] = v * t.chirp[k]
	}
	t.inner.run(spare, nil)
	for k, v := range t.filter {
		spare[k] *= v
	}
	t.back.run(spare, nil)
	scale := complex(1/float64(t.inner.n), 0)
	for k := range x {
		x[k] = spare[k] * scale * t.chirp[k]
	}
}

func (t *transform) halve(x []complex128) {
	n := t.n
	if n < 2 {
		return
	}
	shift := 64 - bits.Len(uint(n-1))
	for i := range n {
		if j := int(bits.Reverse64(uint64(i)) >> shift); i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for size := 2; size <= n; size *= 2 {
		half, step := size/2, n/size
		for lo := 0; lo < n; lo += size {
			for k := range half {
				a, b := x[lo+k], x[lo+k+half]*t.roots[k*step]
				x[lo+k], x[lo+k+half] = a+b, a-b
			}
		}
	}
}

// makeDFT transforms along an axis of [batch, …, 1 or 2], the last axis being the real and imaginary part. onesided keeps the frequencies
// up to the half; with inverse too, it takes them and gives the real signal.
func makeDFT(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	attr := int64(-2)
	if s.Opset < 20 {
		attr = r.Int("axis", 1)
	}
	inverse := r.Flag("inverse", false)
	onesided := r.Flag("onesided", false)
	if err := r.Done(); err != nil {
		return nil, err
	}
	old := s.Opset < 20
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		rank := len(t.Shape)
		if rank < 2 || (t.Shape[rank-1] != 1 && t.Shape[rank-1] != 2) || !isFloat(t.DType) {
			return fmt.Errorf("input is %s, want floats whose last axis has extent 1 or 2", t)
		}
		axis := attr
		if !old && given(c, 2) {
			if axis, err = scalar(c, 2); err != nil {
				return err
			}
		}
		a, err := kernel.Axis(axis, rank)
		if err != nil {
			return err
		}
		if a == rank-1 {
			return fmt.Errorf("axis %d is that of the real and imaginary part", a)
		}
		length := int64(t.Shape[a])
		if inverse && onesided {
			length = 2 * (length - 1)
		}
		if given(c, 1) {
			if length, err = scalar(c, 1); err != nil {
				return err
			}
		}
		if length < 1 || length > 1<<40 {
			return fmt.Errorf("a transform of length %d", length)
		}
		n := int(length)
		shape := append([]int(nil), t.Shape...)
		shape[a], shape[rank-1] = n, 2
		switch {
		case inverse && onesided:
			shape[rank-1] = 1
		case onesided:
			shape[a] = n/2 + 1
		}
		out, err := c.New(0, t.DType, shape)
		if err != nil || out.Len() == 0 {
			return err
		}
		src, err := numbers(t)
		if err != nil {
			return err
		}
		dst := make([]float64, out.Len())
		f := newTransform(n, inverse)
		outer, extent, _ := split3(t.Shape, a)
		inner := kernel.Count(t.Shape[a+1 : rank-1])
		in, to := t.Shape[rank-1], shape[rank-1]
		c.Pool.For(outer*inner, max(1, job/(8*n)), func(lo, hi int) {
			x, spare := make([]complex128, n), make([]complex128, f.spare())
			for k := lo; k < hi; k++ {
				o, i := k/inner, k%inner
				clear(x)
				take := min(n, extent)
				if inverse && onesided {
					take = min(n/2+1, extent)
				}
				for j := range take {
					p := ((o*extent+j)*inner + i) * in
					x[j] = complex(src[p], 0)
					if in == 2 {
						x[j] = complex(src[p], src[p+1])
					}
				}
				if inverse && onesided {
					mirror(x)
				}
				f.run(x, spare)
				for j := range shape[a] {
					v := x[j]
					if inverse {
						v /= complex(float64(n), 0)
					}
					p := ((o*shape[a]+j)*inner + i) * to
					dst[p] = real(v)
					if to == 2 {
						dst[p+1] = imag(v)
					}
				}
			}
		})
		return store(out, dst, math.RoundToEven)
	}, nil
}

// mirror completes the spectrum of a real signal from its first half.
func mirror(x []complex128) {
	n := len(x)
	x[0] = complex(real(x[0]), 0)
	if n%2 == 0 {
		x[n/2] = complex(real(x[n/2]), 0)
	}
	for k := n/2 + 1; k < n; k++ {
		x[k] = cmplx.Conj(x[n-k])
	}
}

// makeSTFT transforms windows of a signal, [batch, length, 1 or 2], into [batch, frames, frequencies, 2].
func makeSTFT(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	onesided := r.Flag("onesided", true)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		signal := t.Shape
		if len(signal) == 2 {
			signal = []int{signal[0], signal[1], 1}
		}
		if len(signal) != 3 || (signal[2] != 1 && signal[2] != 2) || !isFloat(t.DType) {
			return fmt.Errorf("signal is %s, want floats of shape [batch,length,1 or 2]", t)
		}
		step, err := scalar(c, 1)
		if err != nil {
			return err
		}
		length := int64(signal[1])
		var window []float64
		if given(c, 2) {
			wt, err := c.Tensor(2)
			if err != nil {
				return err
			}
			if len(wt.Shape) != 1 {
				return fmt.Errorf("window is %s, want one axis", wt)
			}
			if window, err = numbers(wt); err != nil {
				return err
			}
			length = int64(len(window))
		}
		if given(c, 3) {
			if length, err = scalar(c, 3); err != nil {
				return err
			}
		}
		if step < 1 || length < 1 || length > int64(signal[1]) {
			return fmt.Errorf("frames of %d every %d in a signal of %d", length, step, signal[1])
		}
		n := int(length)
		if window != nil && len(window) > n {
			return fmt.Errorf("a window of %d in frames of %d", len(window), n)
		}
		frames := int((int64(signal[1])-length)/step) + 1
		keep := n
		if onesided {
			keep = n/2 + 1
		}
		out, err := c.New(0, t.DType, []int{signal[0], frames, keep, 2})
		if err != nil || out.Len() == 0 {
			return err
		}
		src, err := numbers(t)
		if err != nil {
			return err
		}
		dst := make([]float64, out.Len())
		f := newTransform(n, false)
		filled := n
		if window != nil {
			filled = len(window)
		}
		c.Pool.For(signal[0]*frames, max(1, job/(8*n)), func(lo, hi int) {
			x, spare := make([]complex128, n), make([]complex128, f.spare())
			for k := lo; k < hi; k++ {
				clear(x)
				at := k/frames*signal[1] + k%frames*int(step)
				for j := range filled {
					p := (at + j) * signal[2]
					x[j] = complex(src[p], 0)
					if signal[2] == 2 {
						x[j] = complex(src[p], src[p+1])
					}
					if window != nil {
						x[j] *= complex(window[j], 0)
					}
				}
				f.run(x, spare)
				for j, v := range x[:keep] {
					dst[2*(k*keep+j)], dst[2*(k*keep+j)+1] = real(v), imag(v)
				}
			}
		})
		return store(out, dst, math.RoundToEven)
	}, nil
}
