package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeDeformConv is DeformConv: a convolution of images whose taps are moved by offsets and weighed by a mask. Where a tap falls between
// pixels the four around it are blended; pixels outside the image are 0.
func makeDeformConv(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	win := window{kernel: a.Extents("kernel_shape", 1), strides: a.Extents("strides", 1), dilations: a.Extents("dilations", 1),
		pads: a.Extents("pads", 0), autoPad: "NOTSET"}
	groups, offsetGroups := a.Count("group", 1, 1), a.Count("offset_group", 1, 1)
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return deformConv(w, &win, groups, offsetGroups) },
			func(w *work[float64]) error { return deformConv(w, &win, groups, offsetGroups) })
	}, nil
}

func deformConv[F real](w *work[F], win *window, groups, offsetGroups int) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	wt, weight, err := w.in(1)
	if err != nil {
		return err
	}
	if len(xt.Shape) != 4 {
		return fmt.Errorf("input 0 has shape %s, want [batch,channels,height,width]", kernel.ShapeString(xt.Shape))
	}
	cv, err := newConvolution(win, groups, xt.Shape, wt.Shape)
	if err != nil {
		return err
	}
	if cv.inC%offsetGroups != 0 {
		return fmt.Errorf("%d offset groups do not divide %d channels", offsetGroups, cv.inC)
	}
	if w.Optional(2) == nil {
		return fmt.Errorf("input 2 is missing")
	}
	oh, ow := cv.out[1], cv.out[2]
	offset, err := w.shaped(2, cv.batch, offsetGroups*cv.kernSize*2, oh, ow)
	if err != nil {
		return err
	}
	bias, err := w.vector(3, cv.outC)
	if err != nil {
		return err
	}
	mask, err := w.shaped(4, cv.batch, offsetGroups*cv.kernSize, oh, ow)
	if err != nil {
		return err
	}
	y, err := w.out(0, xt.DType, cv.outShape(cv.batch, cv.outC))
	if err != nil {
		return err
	}
	per, perOffset := cv.inC/groups, cv.inC/offsetGroups
	fill := func(dst []F, width, n, g, k0, k1, j0, j1 int) {
		for k := k0; k < k1; k++ {
			channel, tap := g*per+k/cv.kernSize, k%cv.kernSize
			img := x[(n*cv.inC+channel)*cv.inSize:][:cv.inSize]
			at := (n*offsetGroups+channel/perOffset)*cv.kernSize + tap
			dy, dx := offset[2*at*cv.outSize:][:cv.outSize], offset[(2*at+1)*cv.outSize:][:cv.outSize]
			row := dst[(k-k0)*width:][:j1-j0]
			for i := range row {
				p := j0 + i
				h := float64(cv.at(1, p/ow, tap/cv.kernel[2])) + float64(dy[p])
				v := float64(cv.at(2, p%ow, tap%cv.kernel[2])) + float64(dx[p])
				row[i] = bilinear(img, cv.in[1], cv.in[2], h, v)
				if mask != nil {
					row[i] *= mask[at*cv.outSize+p]
				}
			}
		}
	}
	return convolveFilled(w.Call, realOf[F](), cv, fill, nil, weight, bias, y)
}

// bilinear is the image at a point between pixels; pixels outside count as 0.
func bilinear[F real](img []F, height, width int, y, x float64) F {
	if !(y > -1 && y < float64(height) && x > -1 && x < float64(width)) {
		return 0 // NaN too
	}
	y0, x0 := math.Floor(y), math.Floor(x)
	fy, fx := y-y0, x-x0
	sum := 0.0
	for _, c := range [4]struct {
		y, x   int
		weight float64
	}{{int(y0), int(x0), (1 - fy) * (1 - fx)}, {int(y0), int(x0) + 1, (1 - fy) * fx}, {int(y0) + 1, int(x0), fy * (1 - fx)},
		{int(y0) + 1, int(x0) + 1, fy * fx}} {
		if c.weight != 0 && c.y >= 0 && c.y < height && c.x >= 0 && c.x < width {
			sum += c.weight * float64(img[c.y*width+c.x])
		}
	}
	return F(sum)
}
