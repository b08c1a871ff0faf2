package kernels

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Codes is the float8 side of a kernel's output.
type Codes struct {
	To     driver.Ptr // 0: no codes
	Format Type       // E4M3 or E5M2
	Scale  driver.Ptr // of one float32 that multiplies; 0 is 1
	Amax   driver.Ptr // of one float32 to raise; 0: not wanted. May be wanted without codes
	Ld     int64      // codes from row to row, at least the columns; what is between becomes zero. 0: the columns
}

func (q Codes) check(kernel string, cols int64) (ld int64, err error) {
	if q.To != 0 && q.Format.format() == "" {
		return 0, &TypeError{kernel, "codes", q.Format}
	}
	if q.Ld == 0 {
		return cols, nil
	}
	if q.Ld < cols {
		return 0, &SizeError{kernel, "distance of the codes' rows", fmt.Sprint(q.Ld), fmt.Sprintf("at least the %d columns", cols)}
	}
	return q.Ld, nil
}

// tiles of 256 threads with four loads of 16 bytes each.
func castTile(t Type) int64 { return threads * 4 * 16 / t.Size() }

const streamBlocks = 64 // blocks on a multiprocessor up to which each gets one tile of a cast

// Cast writes saturate(round(v·scale)) of n values of type t (F32, F16, BF16) to q.To and raises q.Amax to their largest magnitude, in one
// pass. counts, if not 0, is three uint64 to which are added the values that were clamped, that were not zero and became it, and that
// were not finite. q.Ld is not used.
func (s *Set) Cast(q Codes, src driver.Ptr, t Type, n int64, counts driver.Ptr, stream driver.Stream) error {
	if t.suffix() == "" {
		return &TypeError{"cast", "source", t}
	}
	if q.Format.format() == "" {
		return &TypeError{"cast", "codes", q.Format}
	}
	name := "cast_" + q.Format.format() + "_" + t.suffix()
	if counts != 0 {
		name = "cast_count_" + q.Format.format() + "_" + t.suffix()
	}
	return launch(s, name, s.turns(n, castTile(t), streamBlocks, stream), &castArgs{src, q.To, q.Scale, q.Amax, counts, n})
}

// CastPadded is Cast of rows×cols values to rows of q.Ld codes, a multiple of 8, zeros at their ends: what a matrix product wants whose
// inner dimension is no multiple of 16. q.To is a multiple of 8.
func (s *Set) CastPadded(q Codes, src driver.Ptr, t Type, rows, cols int64, stream driver.Stream) error {
	if t.suffix() == "" {
		return &TypeError{"cast_padded", "source", t}
	}
	ld, err := q.check("cast_padded", cols)
	if err != nil {
		return err
	}
	if ld%8 != 0 || q.To%8 != 0 {
		return &SizeError{"cast_padded", "distance of rows and address", fmt.Sprintf("%d and %#x", ld, uint64(q.To)), "multiples of 8"}
	}
	return launch(s, "cast_padded_"+t.suffix(), s.turns(rows*ld/8, threads, 32, stream),
		&padArgs{src: src, dst: q.To, scale: q.Scale, amax: q.Amax, rows: rows, cols: cols, ld: ld, format: int32(q.Format)})
}

// Amax raises the float32 at amax to the largest magnitude of n values of type t (F32, F16, BF16).
func (s *Set) Amax(amax, src driver.Ptr, t Type, n int64, stream driver.Stream) error {
	if t.suffix() == "" {
		return &TypeError{"amax", "source", t}
	}
	return launch(s, "amax_"+t.suffix(), s.turns(n, castTile(t), streamBlocks, stream), &castArgs{src: src, amax: amax, n: n})
}

// Decode writes the values of n codes of a float8 format, times the float32 at scale if it is not 0, to dst as type t (F32, F16, BF16).
func (s *Set) Decode(dst driver.Ptr, t Type, codes driver.Ptr, format Type, scale driver.Ptr, n int64, stream driver.Stream) error {
	if format.format() == "" {
		return &TypeError{"decode", "codes", format}
	}
	if t.suffix() == "" {
		return &TypeError{"decode", "output", t}
	}
	return launch(s, "decode_"+format.format()+"_"+t.suffix(), s.turns(n, threads*8, 64, stream), &decodeArgs{codes, dst, scale, n})
}

// Convert writes n values of type from to dst as type to, both of F32, F16 and BF16, rounded to nearest even; a NaN stays one.
func (s *Set) Convert(dst driver.Ptr, to Type, src driver.Ptr, from Type, n int64, stream driver.Stream) error {
	if from.suffix() == "" {
		return &TypeError{"convert", "source", from}
	}
	if to.suffix() == "" {
		return &TypeError{"convert", "output", to}
	}
	if from == to {
		return s.c.Copy(dst, src, n*from.Size(), stream)
	}
	return launch(s, "convert_"+from.suffix()+"_"+to.suffix(), s.turns(n, threads*8, 64, stream), &convertArgs{src, dst, n})
}

// ScaleRule is how a scale follows from an amax: formatMax·(1/max(amax, Epsilon)), halved Margin times, PowerOfTwo: down to one.
type ScaleRule struct {
	FormatMax, Epsilon float32
	Margin             int
	PowerOfTwo         bool
}

// Scales makes n scales from n amaxes, and their reciprocals at inverse if that is not 0. An amax that is zero, infinite or NaN leaves
// its scale as it was.
func (s *Set) Scales(scale, inverse, amax driver.Ptr, n int64, r ScaleRule, stream driver.Stream) error {
	return launch(s, "scale_from_amax", driver.Blocks(int((n+threads-1)/threads), threads, stream),
		&scaleArgs{amax, scale, inverse, n, r.FormatMax, r.Epsilon, int32(r.Margin), flag(r.PowerOfTwo)})
}
