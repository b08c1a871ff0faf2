package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// resizer is a Resize or an Upsample with its attributes. Interpolation is separable: axes are resized one after the other.
type resizer struct {
	mode          string // nearest, linear, cubic
	transform     string // the coordinate transformation
	nearest       string // how nearest rounds; "simple" is that of opsets before 11
	policy        string // of the aspect ratio
	a             float64
	exclude       bool // weights outside of the input are 0 and the others made to sum to 1
	antialias     bool
	extrapolation float32
	axes          []int64
	someAxes      bool
}

// resizing is what happens to one axis.
type resizing struct {
	axis     int
	in, out  int
	scale    float64
	length   float64 // of the output before it was made whole
	from, to float64 // of the region of interest
	given    bool    // whether scale or region are numbers of the model, float32, rather than quotients of lengths
}

func makeResize(s *kernel.Site) (kernel.Func, error) {
	if s.Opset < 11 {
		return makeUpsample(s)
	}
	r := s.Attrs()
	z := &resizer{
		mode: r.Word("mode", "nearest", "nearest", "linear", "cubic"),
		transform: r.Word("coordinate_transformation_mode", "half_pixel", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
			"align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"),
		nearest:       r.Word("nearest_mode", "round_prefer_floor", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
		policy:        r.Word("keep_aspect_ratio_policy", "stretch", "stretch", "not_larger", "not_smaller"),
		a:             float64(r.Float("cubic_coeff_a", -0.75)),
		exclude:       r.Flag("exclude_outside", false),
		antialias:     r.Flag("antialias", false),
		extrapolation: r.Float("extrapolation_value", 0),
	}
	z.axes, z.someAxes = r.Ints("axes")
	if z.antialias && z.mode == "nearest" {
		r.Fail("antialias goes with linear and cubic only")
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return z.run, nil
}

// makeUpsample serves Upsample and Resize-10 as well: scales, and coordinates that are just divided by them.
func makeUpsample(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	z := &resizer{mode: r.Word("mode", "nearest", "nearest", "linear", "bilinear", "cubic"), transform: "asymmetric", nearest: "simple", policy: "stretch", a: -0.75}
	if z.mode == "bilinear" {
		z.mode = "linear"
	}
	attr, asAttr := r.Floats("scales")
	if asAttr != (s.Opset < 9) {
		r.Fail("scales must be an %s in opset %d", map[bool]string{true: "attribute", false: "input"}[s.Opset < 9], s.Opset)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		scales := attr
		if !asAttr {
			if scales, err = floatInput(c, 1); err != nil {
				return err
			}
		}
		work, err := z.byScales(t, scales, nil)
		if err != nil {
			return err
		}
		return z.resize(c, t, work)
	}, nil
}

// floatInput is a float input's elements, nil where it is left out or empty.
func floatInput(c *kernel.Call, i int) ([]float32, error) {
	t := c.Optional(i)
	if t == nil || t.Len() == 0 {
		return nil, nil
	}
	v, err := numbers(t)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(v))
	for j, x := range v {
		out[j] = float32(x)
	}
	return out, nil
}

func (z *resizer) run(c *kernel.Call) error {
	t, err := c.Tensor(0)
	if err != nil {
		return err
	}
	scales, err := floatInput(c, 2)
	if err != nil {
		return err
	}
	var sizes []int64
	if st := c.Optional(3); st != nil && st.Len() > 0 {
		if sizes, err = c.Ints(3); err != nil {
			return err
		}
	}
	var roi []float32
	if z.transform == "tf_crop_and_resize" {
		if roi, err = floatInput(c, 1); err != nil {
			return err
		}
		if roi == nil {
			return fmt.Errorf("tf_crop_and_resize without a region of interest")
		}
	}
	if (scales == nil) == (sizes == nil) && len(t.Shape) > 0 {
		return fmt.Errorf("scales and sizes: want one of them")
	}
	var work []resizing
	if sizes == nil {
		work, err = z.byScales(t, scales, roi)
	} else {
		work, err = z.bySizes(t, sizes, roi)
	}
	if err != nil {
		return err
	}
	return z.resize(c, t, work)
}

// which are the axes that scales, sizes and roi speak of.
func (z *resizer) which(t *kernel.Tensor, n int, roi []float32) ([]resizing, error) {
	at := make([]int, len(t.Shape))
	for i := range at {
		at[i] = i
	}
	if z.someAxes {
		var err error
		if at, err = axes(z.axes, len(t.Shape)); err != nil {
			return nil, err
		}
	}
	if n != len(at) {
		return nil, fmt.Errorf("%d numbers for %d axes of %s", n, len(at), t)
	}
	if roi != nil && len(roi) != 2*n {
		return nil, fmt.Errorf("roi has %d numbers, want %d", len(roi), 2*n)
	}
	work := make([]resizing, n)
	for i, a := range at {
		work[i] = resizing{axis: a, in: t.Shape[a], to: 1}
		if roi != nil {
			work[i].from, work[i].to = float64(roi[i]), float64(roi[n+i])
		}
	}
	return work, nil
}

func (z *resizer) byScales(t *kernel.Tensor, scales, roi []float32) ([]resizing, error) {
	work, err := z.which(t, len(scales), roi)
	if err != nil {
		return nil, err
	}
	for i := range work {
		w, s := &work[i], scales[i]
		// In float32, as in ONNX's shape inference: 10 times 0.7 is 7 there, while 0.7's float32 as a float64 times 10 lies below.
		n := math.Floor(float64(float32(w.in) * s))
		if !(s > 0) || n > maxExtent {
			return nil, fmt.Errorf("scale %g of axis %d with extent %d", s, w.axis, w.in)
		}
		w.scale, w.out, w.given = float64(s), int(n), true
		w.length = w.scale * float64(w.in)
	}
	return work, nil
}

func (z *resizer) bySizes(t *kernel.Tensor, sizes []int64, roi []float32) ([]resizing, error) {
	work, err := z.which(t, len(sizes), roi)
	if err != nil {
		return nil, err
	}
	target, err := dims(sizes)
	if err != nil {
		return nil, err
	}
	for i := range work {
		w := &work[i]
		w.out, w.length, w.scale, w.given = target[i], float64(target[i]), 1, roi != nil
		if w.in > 0 {
			w.scale = float64(w.out) / float64(w.in)
		} else if w.out > 0 {
			return nil, fmt.Errorf("axis %d of %s is empty and cannot become %d", w.axis, t, w.out)
		}
	}
	if z.policy == "stretch" || len(work) == 0 {
		return work, nil
	}
	scale := work[0].scale
	for _, w := range work {
		if z.policy == "not_larger" {
			scale = min(scale, w.scale)
		} else {
			scale = max(scale, w.scale)
		}
	}
	for i := range work {
		w := &work[i]
		w.scale, w.length = scale, scale*float64(w.in)
		if w.length > maxExtent {
			return nil, fmt.Errorf("scale %g of axis %d with extent %d", scale, w.axis, w.in)
		}
		w.out = int(w.length + 0.5)
	}
	return work, nil
}

// original is the place in the input of place x of the output. outside says that it lies beyond the input and is to be extrapolated.
// Products are converted so that no processor joins them with a sum and rounds once less.
func original[T float32 | float64](z *resizer, w resizing, x T) (y T, outside bool) {
	in, scale, length := T(w.in), T(w.scale), T(w.length)
	switch z.transform {
	case "align_corners":
		if length == 1 {
			return 0, false
		}
		return T(x*(in-1)) / (length - 1), false
	case "asymmetric":
		return x / scale, false
	case "tf_crop_and_resize":
		from, to := T(w.from), T(w.to)
		if w.out == 1 {
			y = T(0.5 * (from + to) * (in - 1))
		} else {
			y = T(from*(in-1)) + T(x*(to-from)*(in-1))/T(w.out-1)
		}
		return y, !(y >= 0 && y <= in-1)
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / scale, false
	case "pytorch_half_pixel":
		if length <= 1 {
			return 0, false
		}
	case "half_pixel_symmetric":
		// The middle of the input goes to the middle of the output, which matters where the output's length was rounded.
		offset := T(in / 2 * (1 - T(w.out)/length))
		return offset + (x+0.5)/scale - 0.5, false
	}
	return (x+0.5)/scale - 0.5, false
}

// pixel is the place in the input that nearest takes. With a scale or region of the model it is computed in float32: a quotient that is a whole
// number or a half but for the rounding of a scale such as 0.6 then comes out as that, which is what the model's author meant.
func (z *resizer) pixel(w resizing, x int) (int, bool) {
	y, outside := original(z, w, float64(x))
	if w.given {
		var place float32
		place, outside = original(z, w, float32(x))
		y = float64(place)
	}
	switch z.nearest {
	case "simple":
		if w.scale < 1 {
			y = math.Ceil(y)
		}
		y = math.Floor(y)
	case "round_prefer_floor":
		y = math.Ceil(y - 0.5)
	case "round_prefer_ceil":
		y = math.Floor(y + 0.5)
	case "floor":
		y = math.Floor(y)
	case "ceil":
		y = math.Ceil(y)
	}
	return clampInt(y, 0, w.in-1), outside
}

// same reports whether an axis stays as it is.
func (w resizing) same() bool { return w.scale == 1 && w.in == w.out && w.from == 0 && w.to == 1 }

func (z *resizer) resize(c *kernel.Call, t *kernel.Tensor, work []resizing) error {
	shape := append([]int(nil), t.Shape...)
	idle := true
	for _, w := range work {
		shape[w.axis] = w.out
		idle = idle && w.same()
	}
	if idle {
		c.View(0, t, shape)
		return nil
	}
	n, err := product(shape)
	if err != nil {
		return err
	}
	if n > 0 && t.Len() == 0 {
		return fmt.Errorf("nothing in %s to make %s of", t, kernel.ShapeString(shape))
	}
	out, err := c.New(0, t.DType, shape)
	if err != nil || n == 0 {
		return err
	}
	outside := make([][]int, len(work))
	if z.mode == "nearest" {
		table := make([][]int, len(shape))
		stride := kernel.Strides(t.Shape)
		for a := range table {
			table[a] = make([]int, shape[a])
			for i := range table[a] {
				table[a][i] = i * stride[a]
			}
		}
		for k, w := range work {
			for i := range w.out {
				p, out := z.pixel(w, i)
				table[w.axis][i] = p * stride[w.axis]
				if out {
					outside[k] = append(outside[k], i)
				}
			}
		}
		pickGrid(c.Pool, out, t, table)
	} else {
		for k, w := range work {
			for i := range w.out {
				// The region's numbers are float32, and what lies on its border in that type is not outside.
				if _, out := original(z, w, float32(i)); out {
					outside[k] = append(outside[k], i)
				}
			}
		}
		if t.DType == tensor.Float32 {
			err = interpolate(c, z, kernel.Of[float32](out), kernel.Of[float32](t), tensor.Float32, t.Shape, work)
		} else {
			err = z.convert(c, out, t, work)
		}
		if err != nil {
			return err
		}
	}
	return z.extrapolate(c, out, work, outside)
}

// convert interpolates in float64; integers are rounded to nearest even and clamped.
func (z *resizer) convert(c *kernel.Call, out, t *kernel.Tensor, work []resizing) error {
	if t.DType == tensor.Float64 {
		return interpolate(c, z, kernel.Of[float64](out), kernel.Of[float64](t), tensor.Float64, t.Shape, work)
	}
	src, err := c.Scratch(tensor.Float64, t.Len())
	if err != nil {
		return err
	}
	defer kernel.Release(src)
	if err := load(kernel.Of[float64](src), t); err != nil {
		return err
	}
	dst, err := c.Scratch(tensor.Float64, out.Len())
	if err != nil {
		return err
	}
	defer kernel.Release(dst)
	if err := interpolate(c, z, kernel.Of[float64](dst), kernel.Of[float64](src), tensor.Float64, t.Shape, work); err != nil {
		return err
	}
	return store(out, kernel.Of[float64](dst), math.RoundToEven)
}

// extrapolate puts the extrapolation value wherever one axis lies outside.
func (z *resizer) extrapolate(c *kernel.Call, out *kernel.Tensor, work []resizing, outside [][]int) error {
	var value *kernel.Tensor
	stride := kernel.Strides(out.Shape)
	still := make([]int, len(out.Shape))
	for k, w := range work {
		for _, i := range outside[k] {
			if value == nil {
				if out.DType == tensor.String {
					return fmt.Errorf("no extrapolation of %s", out.DType)
				}
				value = &kernel.Tensor{DType: out.DType, Shape: []int{1}, Bytes: make([]byte, width(out))}
				if err := store(value, []float64{float64(z.extrapolation)}, math.RoundToEven); err != nil {
					return err
				}
			}
			plane := append([]int(nil), out.Shape...)
			plane[w.axis] = 1
			copyStrided(c.Pool, out, i*stride[w.axis], stride, value, 0, still, plane)
		}
	}
	return nil
}

// interpolate resizes one axis after the other, the last of them into dst.
func interpolate[T float32 | float64](c *kernel.Call, z *resizer, dst, src []T, d tensor.DType, shape []int, work []resizing) error {
	shape = append([]int(nil), shape...)
	var moving []resizing
	for _, w := range work {
		if !w.same() {
			moving = append(moving, w)
		}
	}
	var held *kernel.Tensor
	defer func() { kernel.Release(held) }()
	for i, w := range moving {
		outer, in, inner := split3(shape, w.axis)
		to := dst
		var next *kernel.Tensor
		if i < len(moving)-1 {
			var err error
			if next, err = c.Scratch(d, outer*w.out*inner); err != nil {
				return err
			}
			to = kernel.Of[T](next)
		}
		at, weights, taps := z.taps(w)
		narrowed := make([]T, len(weights))
		for j, v := range weights {
			narrowed[j] = T(v)
		}
		resample(c.Pool, to, src, outer, in, w.out, inner, at, narrowed, taps)
		kernel.Release(held)
		held, src, shape[w.axis] = next, to, w.out
	}
	return nil
}

// resample sums, for every place of the output's axis, its taps with their weights.
func resample[T float32 | float64](p *kernel.Pool, dst, src []T, outer, in, out, inner int, at []int, weight []T, taps int) {
	if inner == 1 {
		p.For(outer, max(1, job/(out*taps)), func(lo, hi int) {
			for o := lo; o < hi; o++ {
				row, line := src[o*in:(o+1)*in], dst[o*out:(o+1)*out]
				if taps == 2 {
					for i := range line {
						line[i] = weight[2*i]*row[at[2*i]] + weight[2*i+1]*row[at[2*i+1]]
					}
					continue
				}
				for i := range line {
					var sum T
					for k := i * taps; k < (i+1)*taps; k++ {
						sum += weight[k] * row[at[k]]
					}
					line[i] = sum
				}
			}
		})
		return
	}
	p.For(outer*out, max(1, job/(inner*taps)), func(lo, hi int) {
		for k := lo; k < hi; k++ {
			o, i := k/out, k%out
			line := dst[k*inner:][:inner]
			if taps == 2 {
				w0, w1 := weight[2*i], weight[2*i+1]
				r0, r1 := src[(o*in+at[2*i])*inner:][:inner], src[(o*in+at[2*i+1])*inner:][:inner]
				for x := range line {
					line[x] = w0*r0[x] + w1*r1[x]
				}
				continue
			}
			for j := range taps {
				w := weight[i*taps+j]
				row := src[(o*in+at[i*taps+j])*inner:][:inner]
				if j == 0 {
					for x, v := range row {
						line[x] = w * v
					}
				} else if w != 0 {
					for x, v := range row {
						line[x] += w * v
					}
				}
			}
		}
	})
}

// taps are for every place of the output the places of the input and their weights, as many for each. There is an even number of them,
// around the place; of a place that is whole, the one on its left is the middle. Places outside are those at the border.
func (z *resizer) taps(w resizing) (at []int, weight []float64, n int) {
	scale := 1.0
	if z.antialias {
		scale = min(w.scale, 1) // a filter as wide as an output pixel, but no narrower than an input pixel
	}
	reach := 1.0
	if z.mode == "cubic" {
		reach = 2
	}
	first := int(math.Floor(-reach/scale) + 1)
	n = 2 - 2*first
	at, weight = make([]int, w.out*n), make([]float64, w.out*n)
	for i := range w.out {
		x, _ := original(z, w, float64(i))
		x = min(max(x, -float64(2*n)-2), float64(w.in+2*n)+2) // beyond that all taps lie at the border, or none inside
		if math.IsNaN(x) {
			x = 0
		}
		floor := math.Floor(x)
		ratio, start := x-floor, int(floor)-n/2+1
		if ratio == 0 {
			ratio, start = 1, start-1
		}
		row, places := weight[i*n:(i+1)*n], at[i*n:(i+1)*n]
		sum := 0.0
		for k := range row {
			row[k] = z.kernel(scale * (float64(first+k) - ratio))
			place := start + k
			if z.exclude && (place < 0 || place >= w.in) {
				row[k] = 0
			}
			sum += row[k]
			places[k] = min(max(place, 0), w.in-1)
		}
		if (z.antialias || z.exclude) && sum != 0 {
			for k := range row {
				row[k] /= sum
			}
		}
	}
	return at, weight, n
}

// kernel is the weight at a distance: the triangle, or the cubic of Keys, "Cubic convolution interpolation" (1981), with parameter a.
func (z *resizer) kernel(x float64) float64 {
	x = math.Abs(x)
	switch a := z.a; {
	case z.mode == "linear":
		return max(1-x, 0)
	case x <= 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((x-5)*x+8)*x*a - 4*a
	}
	return 0
}
