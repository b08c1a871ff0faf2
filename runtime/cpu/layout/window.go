package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// The windows as functions of x = 2πn/N, where N is the size, or one less for a symmetric window.
func hann(x float64) float64 { return 0.5 - 0.5*math.Cos(x) }

// hamming has ONNX's constants 25/46 and 21/46, which others round to 0.54 and 0.46.
func hamming(x float64) float64 { return 25.0/46 - 21.0/46*math.Cos(x) }

func blackman(x float64) float64 { return 0.42 - 0.5*math.Cos(x) + 0.08*math.Cos(2*x) }

// window makes the Maker of a window function.
func window(f func(float64) float64) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		r := s.Attrs()
		d := r.DType("output_datatype", tensor.Float32)
		periodic := r.Flag("periodic", true)
		if err := r.Done(); err != nil {
			return nil, err
		}
		return func(c *kernel.Call) error {
			n, err := scalar(c, 0)
			if err != nil {
				return err
			}
			shape, err := dims([]int64{n})
			if err != nil {
				return err
			}
			out, err := c.New(0, d, shape)
			if err != nil {
				return err
			}
			period := float64(n)
			if !periodic {
				period--
			}
			v := make([]float64, shape[0])
			for i := range v {
				v[i] = f(2 * math.Pi * float64(i) / period)
			}
			return store(out, v, math.Trunc)
		}, nil
	}
}

// makeMelWeightMatrix makes the triangles that turn a spectrum of dft_length/2+1 frequencies into num_mel_bins bands of equal width on
// the mel scale, mel = 2595·log10(1 + hertz/700).
func makeMelWeightMatrix(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	d := r.DType("output_datatype", tensor.Float32)
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		var v [5]float64
		for i := range v {
			t, err := c.Tensor(i)
			if err != nil {
				return err
			}
			x, err := numbers(t)
			if err != nil {
				return err
			}
			if len(x) != 1 {
				return fmt.Errorf("input %d has %d elements, want 1", i, len(x))
			}
			v[i] = x[0]
		}
		if !(v[0] >= 0 && v[1] >= 1 && v[0] <= maxExtent && v[1] <= maxExtent && v[2] > 0 && v[3] >= 0 && v[4] >= v[3]) {
			return fmt.Errorf("no matrix for %g bands, length %g, rate %g, from %g to %g hertz", v[0], v[1], v[2], v[3], v[4])
		}
		bands, lines := int(v[0]), int(v[1])/2+1
		out, err := c.New(0, d, []int{lines, bands})
		if err != nil {
			return err
		}
		mel := func(hertz float64) float64 { return 2595 * math.Log10(1+hertz/700) }
		low := mel(v[3])
		step := (mel(v[4]) - low) / float64(bands+2)
		edge := make([]int, bands+2)
		for i := range edge {
			hertz := 700 * (math.Pow(10, (low+float64(i)*step)/2595) - 1)
			edge[i] = clampInt(math.Floor((v[1]+1)*hertz/v[2]), 0, math.MaxInt32)
			if i > 0 && i <= bands && edge[i] >= lines {
				return fmt.Errorf("band %d lies at line %d of %d: %g hertz are above half the rate %g", i, edge[i], lines, hertz, v[2])
			}
		}
		m := make([]float64, out.Len())
		for i := range bands {
			lo, mid, hi := edge[i], edge[i+1], edge[i+2]
			if lo == mid {
				m[mid*bands+i] = 1
			}
			for j := lo; j <= mid && lo < mid; j++ {
				m[j*bands+i] = float64(j-lo) / float64(mid-lo)
			}
			for j := mid; j < min(hi, lines); j++ {
				m[j*bands+i] = float64(hi-j) / float64(hi-mid)
			}
		}
		return store(out, m, math.Trunc)
	}, nil
}
