package layout

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeImageDecoder decodes a PNG, JPEG, BMP or binary PNM file into [height, width, channels] of bytes.
func makeImageDecoder(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	format := r.Word("pixel_format", "RGB", "RGB", "BGR", "Grayscale")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if t.DType != tensor.Uint8 || len(t.Shape) != 1 {
			return fmt.Errorf("encoded stream is %s, want uint8 with one axis", t)
		}
		open, w, h, err := sniff(t.Bytes)
		if err != nil {
			return err
		}
		ch := 3
		if format == "Grayscale" {
			ch = 1
		}
		// The size in the header is claimed before anything of that size is decoded, so that a limit on memory is seen first.
		out, err := c.New(0, tensor.Uint8, []int{h, w, ch})
		if err != nil {
			return err
		}
		pixel, err := open()
		if err != nil {
			return err
		}
		px := kernel.Of[uint8](out)
		for y := range h {
			for x := range w {
				r, g, b := pixel(x, y)
				d := px[(y*w+x)*ch:]
				switch format {
				case "RGB":
					d[0], d[1], d[2] = r, g, b
				case "BGR":
					d[0], d[1], d[2] = b, g, r
				default: // ITU-R 601 luma in 16 bits
					d[0] = uint8((19595*uint32(r) + 38470*uint32(g) + 7471*uint32(b) + 1<<15) >> 16)
				}
			}
		}
		return nil
	}, nil
}

// pixels gives the color of a picture's pixel.
type pixels func(x, y int) (r, g, b uint8)

// sniff knows a file's format by its first bytes and reads the size of the picture.
func sniff(b []byte) (open func() (pixels, error), w, h int, err error) {
	var c image.Config
	switch {
	case bytes.HasPrefix(b, []byte("\x89PNG")):
		c, err = png.DecodeConfig(bytes.NewReader(b))
		open = func() (pixels, error) {
			m, err := png.Decode(bytes.NewReader(b))
			return ofImage(m), err
		}
	case bytes.HasPrefix(b, []byte("\xff\xd8")):
		c, err = jpeg.DecodeConfig(bytes.NewReader(b))
		open = func() (pixels, error) {
			m, err := jpeg.Decode(bytes.NewReader(b))
			if err != nil {
				return nil, err
			}
			if y, ok := m.(*image.YCbCr); ok {
				return ofYCbCr(y), nil
			}
			return ofImage(m), nil
		}
	case bytes.HasPrefix(b, []byte("BM")):
		return bmp(b)
	case len(b) > 2 && b[0] == 'P' && (b[1] == '5' || b[1] == '6'):
		return pnm(b)
	default:
		return nil, 0, 0, fmt.Errorf("the image's format is not known from its first bytes % x: want PNG, JPEG, BMP or PNM", b[:min(len(b), 8)])
	}
	if err != nil {
		return nil, 0, 0, fmt.Errorf("image: %w", err)
	}
	return open, c.Width, c.Height, nil
}

// ofImage drops transparency without mixing it in.
func ofImage(m image.Image) pixels {
	if m == nil {
		return nil
	}
	at := m.Bounds().Min
	return func(x, y int) (uint8, uint8, uint8) {
		c := color.NRGBAModel.Convert(m.At(at.X+x, at.Y+y)).(color.NRGBA)
		return c.R, c.G, c.B
	}
}

// ofYCbCr converts as most decoders do, and as the pictures that models were trained on were decoded: color planes of half size are
// widened by a triangle filter, where Go's own conversion repeats their pixels.
func ofYCbCr(m *image.YCbCr) pixels {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cb, cr := plane{m.Cb, m.CStride, w, h}, plane{m.Cr, m.CStride, w, h}
	at := func(p plane, x, y int) int32 {
		return int32(p.px[m.COffset(m.Rect.Min.X+x, m.Rect.Min.Y+y)-m.COffset(m.Rect.Min.X, m.Rect.Min.Y)])
	}
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		at = plane.half
	case image.YCbCrSubsampleRatio420:
		at = plane.quarter
	}
	return func(x, y int) (uint8, uint8, uint8) {
		l := int32(m.Y[m.YOffset(m.Rect.Min.X+x, m.Rect.Min.Y+y)])
		b, r := at(cb, x, y)-128, at(cr, x, y)-128
		// ITU-R 601 in 16 bits: 1.402, 0.34414, 0.71414 and 1.772.
		const half = 1 << 15
		return clampByte(l + (91881*r+half)>>16), clampByte(l + (-22554*b-46802*r+half)>>16), clampByte(l + (116130*b+half)>>16)
	}
}

func clampByte(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// plane is a color plane of a picture of this size.
type plane struct {
	px           []byte
	stride, w, h int
}

// half is the plane, half as wide, at a place of the whole picture: three parts of the nearest pixel, one of the next.
func (p plane) half(x, y int) int32 {
	row, n := p.px[y*p.stride:], (p.w+1)/2
	i := x / 2
	v := int32(row[i])
	switch {
	case x%2 == 0 && i > 0:
		return (3*v + int32(row[i-1]) + 1) >> 2
	case x%2 == 1 && i < n-1:
		return (3*v + int32(row[i+1]) + 2) >> 2
	}
	return v
}

// quarter is the plane, half as wide and high, at a place of the whole picture.
func (p plane) quarter(x, y int) int32 {
	n, rows := (p.w+1)/2, (p.h+1)/2
	near := max(y/2-1, 0)
	if y%2 == 1 {
		near = min(y/2+1, rows-1)
	}
	column := func(i int) int32 { return 3*int32(p.px[y/2*p.stride+i]) + int32(p.px[near*p.stride+i]) }
	i := x / 2
	v := column(i)
	switch {
	case x%2 == 0 && i > 0:
		return (3*v + column(i-1) + 8) >> 4
	case x%2 == 0:
		return (4*v + 8) >> 4
	case i < n-1:
		return (3*v + column(i+1) + 7) >> 4
	}
	return (4*v + 7) >> 4
}

// bmp reads Windows bitmaps without compression: 8 bits with a palette, 24 or 32 bits.
func bmp(b []byte) (func() (pixels, error), int, int, error) {
	fail := func(format string, args ...any) (func() (pixels, error), int, int, error) {
		return nil, 0, 0, fmt.Errorf("bmp: "+format, args...)
	}
	if len(b) < 54 {
		return fail("%d bytes", len(b))
	}
	le := binary.LittleEndian
	start, header := int64(le.Uint32(b[10:])), int64(le.Uint32(b[14:]))
	w, h := int64(int32(le.Uint32(b[18:]))), int64(int32(le.Uint32(b[22:])))
	depth, packed, colors := int64(le.Uint16(b[28:])), le.Uint32(b[30:]), int64(le.Uint32(b[46:]))
	down := h < 0 // rows are stored from below unless the height is negative
	if down {
		h = -h
	}
	if header < 40 || w < 1 || h < 1 || packed != 0 || (depth != 8 && depth != 24 && depth != 32) {
		return fail("header of %d bytes, %d by %d pixels of %d bits, compression %d: want 8, 24 or 32 bits without", header, w, h, depth, packed)
	}
	palette := 14 + header
	if colors == 0 {
		colors = 256
	}
	row := (w*depth + 31) / 32 * 4
	if h > int64(len(b))/row || start > int64(len(b))-row*h || (depth == 8 && (colors > 256 || palette+4*colors > int64(len(b)))) {
		return fail("%d bytes for %d by %d pixels of %d bits from %d on", len(b), w, h, depth, start)
	}
	return func() (pixels, error) {
		return func(x, y int) (uint8, uint8, uint8) {
			line := int64(y)
			if !down {
				line = h - 1 - line
			}
			at := start + line*row + int64(x)*depth/8
			if depth == 8 {
				i := int64(b[at])
				if i >= colors {
					return 0, 0, 0
				}
				at = palette + 4*i
			}
			return b[at+2], b[at+1], b[at]
		}, nil
	}, int(w), int(h), nil
}

// pnm reads the binary grey and color maps of netpbm with one byte for each sample.
func pnm(b []byte) (func() (pixels, error), int, int, error) {
	at := 2
	var v [3]int
	for i := range v {
		for at < len(b) && (b[at] == '#' || bytes.IndexByte([]byte(" \t\r\n"), b[at]) >= 0) {
			if b[at] == '#' {
				for at < len(b) && b[at] != '\n' {
					at++
				}
				continue
			}
			at++
		}
		for at < len(b) && b[at] >= '0' && b[at] <= '9' && v[i] < 1<<24 {
			v[i] = 10*v[i] + int(b[at]-'0')
			at++
		}
	}
	at++ // the one space before the samples
	w, h, most := v[0], v[1], v[2]
	ch := 1
	if b[1] == '6' {
		ch = 3
	}
	if w < 1 || h < 1 || most < 1 || most > 255 || at > len(b) || h > (len(b)-at)/(w*ch) {
		return nil, 0, 0, fmt.Errorf("pnm: %d bytes for %d by %d pixels with samples up to %d", len(b), w, h, most)
	}
	return func() (pixels, error) {
		return func(x, y int) (uint8, uint8, uint8) {
			p := b[at+(y*w+x)*ch:]
			full := func(v uint8) uint8 { return uint8(min((int(v)*255+most/2)/most, 255)) }
			if ch == 1 {
				return full(p[0]), full(p[0]), full(p[0])
			}
			return full(p[0]), full(p[1]), full(p[2])
		}, nil
	}, w, h, nil
}
