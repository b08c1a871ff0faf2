package layout

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func str(name, v string) *graph.Attribute { return graph.Str(name, v) }

// TestResizeInEveryModeAndTransformation has the numbers that the reference implementation in Python of onnx 1.22.0 gives: [1 5 2 8] to a
// length of 7, and by the scale 0.75.
func TestResizeInEveryModeAndTransformation(t *testing.T) {
	for _, c := range []struct{ mode, transform, longer, shorter string }{
		{"nearest", "half_pixel", "{1 1 5 5 2 8 8}", "{1 5 8}"},
		{"nearest", "half_pixel_symmetric", "{1 1 5 5 2 8 8}", "{1 5 8}"},
		{"nearest", "pytorch_half_pixel", "{1 1 5 5 2 8 8}", "{1 5 8}"},
		{"nearest", "align_corners", "{1 1 5 5 2 2 8}", "{1 5 8}"},
		{"nearest", "asymmetric", "{1 5 5 2 2 8 8}", "{1 5 8}"},
		{"nearest", "tf_crop_and_resize", "{5 5 2 2 8 -1 -1}", "{5 2 -1}"},
		{"linear", "half_pixel", "{1 2.429 4.714 3.5 2.429 5.857 8}", "{1.667 3.5 7}"},
		{"linear", "half_pixel_symmetric", "{1 2.429 4.714 3.5 2.429 5.857 8}", "{1.667 3.5 7}"},
		{"linear", "pytorch_half_pixel", "{1 2.429 4.714 3.5 2.429 5.857 8}", "{1.667 3.5 7}"},
		{"linear", "align_corners", "{1 3 5 3.5 2 5 8}", "{1 3.5 8}"},
		{"linear", "asymmetric", "{1 3.286 4.571 2.857 3.714 7.143 8}", "{1 4 6}"},
		{"linear", "tf_crop_and_resize", "{4 4.25 2.75 3.5 6.5 -1 -1}", "{4 3.5 -1}"},
		{"cubic", "half_pixel", "{0.6031 2.547 4.91 3.312 2.205 5.771 8.595}", "{1.626 3.312 7.087}"},
		{"cubic", "half_pixel_symmetric", "{0.6031 2.547 4.91 3.312 2.205 5.771 8.595}", "{1.626 3.312 7.087}"},
		{"cubic", "pytorch_half_pixel", "{0.6031 2.547 4.91 3.312 2.205 5.771 8.595}", "{1.626 3.312 7.087}"},
		{"cubic", "align_corners", "{1 3.281 5 3.312 2 4.719 8}", "{1 3.312 8}"},
		{"cubic", "asymmetric", "{1 3.636 4.873 2.31 3.255 7.235 8.63}", "{1 4.167 5.944}"},
		{"cubic", "tf_crop_and_resize", "{4.41 4.531 2.188 3.043 6.535 -1 -1}", "{4.41 3.043 -1}"},
	} {
		o := op{name: "Resize", opset: 19, attrs: []*graph.Attribute{str("mode", c.mode), str("coordinate_transformation_mode", c.transform), graph.Float("extrapolation_value", -1)}}
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
			x := &kernel.Tensor{DType: d, Shape: []int{4}, Bytes: make([]byte, 4*kernel.ElemSize(d))}
			if err := store(x, []float64{1, 5, 2, 8}, math.Trunc); err != nil {
				t.Fatal(err)
			}
			roi := f32([]int{2}, 0.25, 1.25)
			check(t, []example{
				{fmt.Sprintf("%s %s %s longer", c.mode, c.transform, d), o, values{x, roi, nil, i64(7)}, c.longer, nil},
				{fmt.Sprintf("%s %s %s shorter", c.mode, c.transform, d), o, values{x, roi, f32([]int{1}, 0.75)}, c.shorter, nil},
			})
		}
	}
}

func TestResizeByItsOtherAttributes(t *testing.T) {
	x := f32([]int{4}, 1, 5, 2, 8)
	long := f32([]int{6}, 1, 5, 2, 8, 3, 9)
	resize := func(a ...*graph.Attribute) op { return op{name: "Resize", opset: 19, attrs: a} }
	nearest := func(how string) op {
		return resize(str("nearest_mode", how), str("coordinate_transformation_mode", "asymmetric"))
	}
	check(t, []example{
		{"halves down", nearest("round_prefer_floor"), values{x, nil, nil, i64(8)}, "{1 1 5 5 2 2 8 8}", nil},
		{"halves up", nearest("round_prefer_ceil"), values{x, nil, nil, i64(8)}, "{1 5 5 2 2 8 8 8}", nil},
		{"a half that float32 would miss", nearest("round_prefer_ceil"), values{count(7), nil, nil, i64(4)}, "{0 2 4 5}", nil},
		{"floor", nearest("floor"), values{x, nil, nil, i64(8)}, "{1 1 5 5 2 2 8 8}", nil},
		{"ceil", nearest("ceil"), values{x, nil, nil, i64(8)}, "{1 5 5 2 2 8 8 8}", nil},
		{"antialias linear", resize(str("mode", "linear"), graph.Int("antialias", 1)), values{long, nil, nil, i64(3)}, "{2.625 4.75 6.625}", nil},
		{"antialias linear inside", resize(str("mode", "linear"), graph.Int("antialias", 1), graph.Int("exclude_outside", 1)), values{long, nil, nil, i64(3)}, "{2.857 4.75 6.286}", nil},
		{"antialias cubic", resize(str("mode", "cubic"), graph.Int("antialias", 1)), values{long, nil, nil, i64(3)}, "{2.484 4.738 6.672}", nil},
		{"antialias cubic inside", resize(str("mode", "cubic"), graph.Int("antialias", 1), graph.Int("exclude_outside", 1)), values{long, nil, nil, i64(3)}, "{2.58 4.747 6.522}", nil},
		{"cubic inside", resize(str("mode", "cubic"), graph.Int("exclude_outside", 1), graph.Float("cubic_coeff_a", -0.5)), values{x, nil, nil, i64(7)}, "{0.6827 2.323 4.911 3.375 2.179 6.073 8.476}", nil},
		{"bytes are rounded and clamped", resize(str("mode", "cubic")), values{kernel.FromSlice(tensor.Uint8, []int{3}, []uint8{0, 255, 3}), nil, nil, i64(7)}, "{0 34 174 255 176 37 0}", nil},
		{"not larger", resize(graph.Ints("axes", 0, 1), str("keep_aspect_ratio_policy", "not_larger")), values{count(2, 4), nil, nil, i64(4, 4)}, "[2,4]{0 1 2 3 4 5 6 7}", nil},
		{"not smaller", resize(graph.Ints("axes", 1, 0), str("keep_aspect_ratio_policy", "not_smaller")), values{count(1, 2), nil, nil, i64(4, 1)}, "[2,4]{0 0 1 1 0 0 1 1}", nil},
		{"one axis", resize(graph.Ints("axes", -1)), values{count(2, 2), nil, f32([]int{1}, 2)}, "[2,4]{0 0 1 1 2 2 3 3}", nil},
		{"a scale that float32 does not hold", resize(), values{count(10), nil, f32([]int{1}, 0.7)}, "{0 2 3 4 6 7 9}", nil},
		{"before opset 11, longer", op{name: "Resize", opset: 10}, values{x, f32([]int{1}, 2)}, "{1 1 5 5 2 2 8 8}", nil},
		{"before opset 11, shorter", op{name: "Resize", opset: 10}, values{f32([]int{5}, 0, 1, 2, 3, 4), f32([]int{1}, 0.6)}, "{0 2 4}", nil},
		{"upsample linearly", op{name: "Upsample", opset: 9, attrs: []*graph.Attribute{str("mode", "linear")}}, values{f32([]int{2}, 1, 5), f32([]int{1}, 2)}, "{1 3 5 5}", nil},
		{"upsample by an attribute", op{name: "Upsample", opset: 7, attrs: []*graph.Attribute{graph.Floats("scales", 1, 2)}}, values{count(2, 1)}, "[2,2]{0 0 1 1}", nil},
		{"neither scales nor sizes", resize(), values{x}, "", []string{"want one of them"}},
		{"a scale for too few axes", resize(), values{count(2, 2), nil, f32([]int{1}, 2)}, "", []string{"1 numbers for 2 axes"}},
		{"a negative scale", resize(), values{x, nil, f32([]int{1}, -1)}, "", []string{"scale -1 of axis 0"}},
		{"a huge scale", resize(), values{x, nil, f32([]int{1}, 1e30)}, "", []string{"scale 1e+30 of axis 0"}},
		{"a scale that is no number", resize(), values{x, nil, f32([]int{1}, float32(math.NaN()))}, "", []string{"scale NaN"}},
		{"of nothing", resize(), values{f32([]int{0}), nil, nil, i64(2)}, "", []string{"axis 0 of float32[0] is empty"}},
		{"no region", resize(str("coordinate_transformation_mode", "tf_crop_and_resize")), values{x, nil, nil, i64(2)}, "", []string{"region of interest"}},
	})
}

// The numbers of the next tests are those of onnx 1.22.0's reference implementation, but for MaxRoiPool, which is done by hand.

func TestGridSample(t *testing.T) {
	x := count(1, 1, 2, 3)
	g := f32([]int{1, 1, 4, 2}, -1, -1, 0.2, -0.3, 1.4, 0.6, 0, 1.2)
	for _, c := range []struct {
		mode, pad string
		want      [2]string
	}{
		{"nearest", "zeros", [2]string{"0 1 0 0", "0 1 5 4"}}, {"nearest", "border", [2]string{"0 1 5 4", "0 1 5 4"}},
		{"nearest", "reflection", [2]string{"0 1 5 4", "0 1 5 4"}}, {"linear", "zeros", [2]string{"0 1.9 0 1.2", "0 2.25 2.64 3.6"}},
		{"linear", "border", [2]string{"0 1.9 5 4", "0 2.25 4.4 4"}}, {"linear", "reflection", [2]string{"0 1.9 4.9 4", "0 2.25 4 3.7"}},
		{"cubic", "border", [2]string{"-0.375 1.917 5.182 4", "0 2.271 4.472 4"}},
		{"cubic", "reflection", [2]string{"-0.75 1.917 5.127 4.472", "0 2.141 4.48 3.916"}},
	} {
		for align := range 2 {
			check(t, []example{{fmt.Sprintf("%s %s %d", c.mode, c.pad, align), op{name: "GridSample", opset: 20, attrs: []*graph.Attribute{str("mode", c.mode), str("padding_mode", c.pad), graph.Int("align_corners", int64(align))}},
				values{x, g}, "[1,1,1,4]{" + c.want[align] + "}", nil}})
		}
	}
	check(t, []example{
		{"no number at all", op{name: "GridSample", opset: 20}, values{x, f32([]int{1, 1, 1, 2}, float32(math.NaN()), float32(math.Inf(1)))}, "[1,1,1,1]{0}", nil},
		{"a grid of the wrong rank", op{name: "GridSample", opset: 20}, values{x, count(1, 1, 1, 3)}, "", []string{"grid float32[1,1,1,3]"}},
		{"affine grid", op{name: "AffineGrid", opset: 20}, values{f32([]int{1, 2, 3}, 1, 0, 0.5, 0, 2, 0), i64(1, 1, 2, 2)}, "[1,2,2,2]{0 -1 1 -1 0 1 1 1}", nil},
		{"affine grid by the corners", op{name: "AffineGrid", opset: 20, attrs: []*graph.Attribute{graph.Int("align_corners", 1)}}, values{f32([]int{1, 2, 3}, 1, 0, 0.5, 0, 2, 0), i64(1, 1, 2, 2)}, "[1,2,2,2]{-0.5 -2 1.5 -2 -0.5 2 1.5 2}", nil},
		{"affine grid of a huge size", op{name: "AffineGrid", opset: 20}, values{count(1, 2, 3), i64(1, 1, 1<<40, 1<<40)}, "", []string{"not possible"}},
	})
}

func TestRegions(t *testing.T) {
	x := count(1, 1, 4, 4)
	rois := f32([]int{2, 4}, 0, 0, 3, 3, 1, 1, 9, 2)
	align := func(ratio int64, mode string) op {
		return op{name: "RoiAlign", opset: 16, attrs: []*graph.Attribute{graph.Int("output_height", 2), graph.Int("output_width", 2), graph.Int("sampling_ratio", ratio), str("mode", mode)}}
	}
	box := f32([]int{1, 4, 4}, 0, 0, 1, 1, 0, 0.1, 1, 1.1, 0, 3, 1, 4, 1, 4, 0, 3)
	scores := f32([]int{1, 1, 4}, 0.9, 0.95, 0.3, 0.3)
	check(t, []example{
		{"mean of as many as needed", align(0, "avg"), values{x, rois, i64(0, 0)}, "[2,1,2,2]{1.562 3 7.312 8.75 5.25 0 7.25 0}", nil},
		{"largest of as many as needed", align(0, "max"), values{x, rois, i64(0, 0)}, "[2,1,2,2]{2.5 3.281 7 7.656 5.25 0 5.25 0}", nil},
		{"mean of four", align(2, "avg"), values{x, rois, i64(0, 0)}, "[2,1,2,2]{1.562 3 7.312 8.75 5.25 0 7.25 0}", nil},
		{"largest of four", align(2, "max"), values{x, rois, i64(0, 0)}, "[2,1,2,2]{2.5 3.281 7 7.656 6.125 0 6.125 0}", nil},
		{"of a batch entry that is not there", align(2, "avg"), values{x, rois, i64(0, 1)}, "", []string{"index 1", "axis 0 of extent 1"}},
		{"that is too large", align(0, "avg"), values{x, f32([]int{1, 4}, 0, 0, 1e30, 1), i64(0)}, "", []string{"region 0", "too large"}},
		{"max pool", op{name: "MaxRoiPool", opset: 9, attrs: []*graph.Attribute{graph.Ints("pooled_shape", 2, 1)}}, values{x, f32([]int{2, 5}, 0, 0, 0, 2, 3, 0, 9, 9, 9, 9)}, "[2,1,2,1]{6 14 0 0}", nil},
		{"max pool of no batch entry", op{name: "MaxRoiPool", opset: 9, attrs: []*graph.Attribute{graph.Ints("pooled_shape", 1, 1)}}, values{x, f32([]int{1, 5}, 1, 0, 0, 1, 1)}, "", []string{"batch index 1 of region 0"}},
		{"suppression", op{name: "NonMaxSuppression", opset: 11}, values{box, scores, i64(9), f32([]int{1}, 0.5)}, "[2,3]{0 0 1 0 0 2}", nil},
		{"suppression of most", op{name: "NonMaxSuppression", opset: 11}, values{box, scores, i64(1), f32([]int{1}, 0.99)}, "[1,3]{0 0 1}", nil},
		{"suppression by score", op{name: "NonMaxSuppression", opset: 11}, values{box, scores, i64(9), f32([]int{1}, 0.99), f32([]int{1}, 0.3)}, "[2,3]{0 0 1 0 0 0}", nil},
		{"suppression of everything", op{name: "NonMaxSuppression", opset: 11}, values{box, scores}, "[0,3]{}", nil},
		{"suppression with other scores", op{name: "NonMaxSuppression", opset: 11}, values{box, count(1, 1, 3)}, "", []string{"scores float32[1,1,3]"}},
		{"columns to an image", op{name: "Col2Im", opset: 18}, values{f32([]int{1, 4, 4}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16), i64(3, 3), i64(2, 2)}, "[1,1,3,3]{1 7 6 12 34 22 11 27 16}", nil},
		{"columns to another image", op{name: "Col2Im", opset: 18}, values{count(1, 4, 4), i64(3, 4), i64(2, 2)}, "", []string{"want [2 3] blocks"}},
		{"columns of a block that does not fit", op{name: "Col2Im", opset: 18}, values{count(1, 4, 4), i64(1, 4), i64(2, 2)}, "", []string{"does not fit into 1 along axis 0"}},
	})
}

func TestPicturesAreDecoded(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	m.Set(0, 0, color.NRGBA{10, 20, 30, 255})
	m.Set(1, 0, color.NRGBA{200, 100, 50, 128})
	var file bytes.Buffer
	if err := png.Encode(&file, m); err != nil {
		t.Fatal(err)
	}
	stream := func(b []byte) *kernel.Tensor { return kernel.FromSlice(tensor.Uint8, []int{len(b)}, b) }
	decode := func(format string) op {
		return op{name: "ImageDecoder", opset: 20, attrs: []*graph.Attribute{str("pixel_format", format)}}
	}
	bitmap := func(depth uint16, height int32, pixels ...byte) []byte {
		b := append([]byte("BM"), make([]byte, 52)...)
		le := binary.LittleEndian
		le.PutUint32(b[10:], 54)
		le.PutUint32(b[14:], 40)
		le.PutUint32(b[18:], 1)
		le.PutUint32(b[22:], uint32(height))
		le.PutUint16(b[28:], depth)
		return append(b, pixels...)
	}
	check(t, []example{
		{"png", decode("RGB"), values{stream(file.Bytes())}, "[1,2,3]{10 20 30 200 100 50}", nil},
		{"png the other way round", decode("BGR"), values{stream(file.Bytes())}, "[1,2,3]{30 20 10 50 100 200}", nil},
		{"png in grey", decode("Grayscale"), values{stream(file.Bytes())}, "[1,2,1]{18 124}", nil},
		{"bmp from below", decode("RGB"), values{stream(bitmap(24, 2, 1, 2, 3, 0, 4, 5, 6, 0))}, "[2,1,3]{6 5 4 3 2 1}", nil},
		{"bmp from above", decode("RGB"), values{stream(bitmap(32, -2, 1, 2, 3, 0, 4, 5, 6, 0))}, "[2,1,3]{3 2 1 6 5 4}", nil},
		{"bmp without its pixels", decode("RGB"), values{stream(bitmap(24, 1<<30, 1, 2, 3, 0))}, "", []string{"bmp: 58 bytes for 1 by 1073741824"}},
		{"pnm", decode("RGB"), values{stream([]byte("P6 # two\n2 1\n255\n\x01\x02\x03\x04\x05\x06"))}, "[1,2,3]{1 2 3 4 5 6}", nil},
		{"pnm in grey", decode("RGB"), values{stream([]byte("P5 1 1 15\n\x0f"))}, "[1,1,3]{255 255 255}", nil},
		{"pnm without its pixels", decode("RGB"), values{stream([]byte("P6 9999 9999 255\n\x01"))}, "", []string{"pnm: 18 bytes for 9999 by 9999"}},
		{"a broken png", decode("RGB"), values{stream(file.Bytes()[:40])}, "", []string{"unexpected EOF"}},
		{"something else", decode("RGB"), values{stream([]byte("GIF89a"))}, "", []string{"47 49 46", "want PNG, JPEG, BMP or PNM"}},
	})

	// JPEG loses; a smooth picture comes back within a few steps, whatever the size of the color planes.
	smooth := image.NewNRGBA(image.Rect(0, 0, 21, 19))
	for y := range 19 {
		for x := range 21 {
			smooth.Set(x, y, color.NRGBA{uint8(10 * x), uint8(12 * y), uint8(5 * (x + y)), 255})
		}
	}
	file.Reset()
	if err := jpeg.Encode(&file, smooth, &jpeg.Options{Quality: 98}); err != nil {
		t.Fatal(err)
	}
	out, err := decode("RGB").run(stream(file.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range kernel.Of[uint8](out[0].(*kernel.Tensor)) {
		if want := smooth.Pix[i/3*4+i%3]; math.Abs(float64(v)-float64(want)) > 9 {
			t.Fatalf("byte %d of the jpeg is %d, want about %d", i, v, want)
		}
	}
	if _, err := decode("RGB").run(stream(bytes.Replace(file.Bytes(), []byte{0, 19, 0, 21}, []byte{255, 255, 255, 255}, 1))); err == nil || !strings.Contains(err.Error(), "allowed") {
		t.Errorf("a jpeg of 65535 by 65535 pixels: %v", err)
	}
}
