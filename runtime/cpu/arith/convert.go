package arith

import (
	"fmt"
	"math"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// narrowing says how a cast to a narrow float treats what does not fit.
type narrowing struct {
	overflow float8.Overflow // of the float8 types
	rounding float8.Rounding // to float8e8m0
}

// buffers are room for a chunk in each of the four types that conversions go through.
type buffers struct {
	f32, odd [chunk]float32
	f64      [chunk]float64
	i64      [chunk]int64
	u64      [chunk]uint64
}

var conversions = sync.Pool{New: func() any { return new(buffers) }}

// convert writes the elements of src, cast as ONNX's Cast does, to dst, which has as many. Every element goes through the narrowest
// of float32, float64, int64 and uint64 that holds all values of the source exactly, and is rounded once.
func convert(pool *kernel.Pool, dst, src *kernel.Tensor, how narrowing) error {
	if src.DType == tensor.String || dst.DType == tensor.String {
		return convertStrings(dst, src, how)
	}
	if !castable(src.DType) || !castable(dst.DType) {
		return fmt.Errorf("no cast from %s to %s", src.DType, dst.DType)
	}
	pool.For(src.Len(), grain, func(lo, hi int) {
		buf := conversions.Get().(*buffers)
		defer conversions.Put(buf)
		for lo < hi {
			end := min(lo+chunk, hi)
			convertChunk(dst, src, lo, end, buf, how)
			lo = end
		}
	})
	return nil
}

// castable reports whether a type takes part in Cast; strings apart.
func castable(d tensor.DType) bool {
	return kernel.ElemSize(d) > 0 && d != tensor.Complex64 && d != tensor.Complex128
}

func convertChunk(dst, src *kernel.Tensor, lo, hi int, buf *buffers, how narrowing) {
	switch src.DType {
	case tensor.Float64:
		storeFloat64(dst, lo, kernel.Of[float64](src)[lo:hi], buf, how)
	case tensor.Uint64:
		storeUint64(dst, lo, kernel.Of[uint64](src)[lo:hi], buf, how)
	case tensor.Int64:
		storeInt64(dst, lo, kernel.Of[int64](src)[lo:hi], buf, how)
	case tensor.Float32:
		storeFloat32(dst, lo, kernel.Of[float32](src)[lo:hi], how)
	default:
		if isInteger(src.DType) {
			v := buf.i64[:hi-lo]
			loadInt64(v, src, lo)
			storeInt64(dst, lo, v, buf, how)
			return
		}
		v := buf.f32[:hi-lo]
		loadFloat32(v, src, lo)
		storeFloat32(dst, lo, v, how)
	}
}

// isInteger reports whether d is an integer type or bool.
func isInteger(d tensor.DType) bool {
	switch d {
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64,
		tensor.Bool, tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2:
		return true
	}
	return false
}

// assign converts as Go does, which must be exact or a wanted wrap.
func assign[D, S numeric](dst []D, src []S) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = D(v)
	}
}

// loadInt64 reads integers of at most 32 bits, or int64.
func loadInt64(dst []int64, t *kernel.Tensor, lo int) {
	hi := lo + len(dst)
	switch t.DType {
	case tensor.Int8, tensor.Int4, tensor.Int2:
		assign(dst, kernel.Of[int8](t)[lo:hi])
	case tensor.Int16:
		assign(dst, kernel.Of[int16](t)[lo:hi])
	case tensor.Int32:
		assign(dst, kernel.Of[int32](t)[lo:hi])
	case tensor.Int64:
		copy(dst, kernel.Of[int64](t)[lo:hi])
	case tensor.Uint16:
		assign(dst, kernel.Of[uint16](t)[lo:hi])
	case tensor.Uint32:
		assign(dst, kernel.Of[uint32](t)[lo:hi])
	default: // uint8, bool, uint4, uint2
		assign(dst, kernel.Of[uint8](t)[lo:hi])
	}
}

// loadFloat32 reads floats of at most 32 bits, exactly, and integers, rounded once.
func loadFloat32(dst []float32, t *kernel.Tensor, lo int) {
	hi := lo + len(dst)
	switch t.DType {
	case tensor.Float32:
		copy(dst, kernel.Of[float32](t)[lo:hi])
	case tensor.Float64:
		assign(dst, kernel.Of[float64](t)[lo:hi])
	case tensor.Float16, tensor.BFloat16:
		halfOf(t.DType).widen(dst, kernel.Of[uint16](t)[lo:hi])
	case tensor.Float8E8M0:
		for i, c := range kernel.Of[uint8](t)[lo:hi] {
			dst[i] = float8.E8M0(c).Float32()
		}
	case tensor.Float4E2M1:
		for i, c := range kernel.Of[uint8](t)[lo:hi] {
			dst[i] = float4Values[c&15]
		}
	case tensor.Int8, tensor.Int4, tensor.Int2:
		assign(dst, kernel.Of[int8](t)[lo:hi])
	case tensor.Int16:
		assign(dst, kernel.Of[int16](t)[lo:hi])
	case tensor.Int32:
		assign(dst, kernel.Of[int32](t)[lo:hi])
	case tensor.Int64:
		assign(dst, kernel.Of[int64](t)[lo:hi])
	case tensor.Uint16:
		assign(dst, kernel.Of[uint16](t)[lo:hi])
	case tensor.Uint32:
		assign(dst, kernel.Of[uint32](t)[lo:hi])
	case tensor.Uint64:
		assign(dst, kernel.Of[uint64](t)[lo:hi])
	case tensor.Uint8, tensor.Bool, tensor.Uint4, tensor.Uint2:
		assign(dst, kernel.Of[uint8](t)[lo:hi])
	default:
		f, _ := kernel.Float8Format(t.DType)
		float8.DecodeFloat32(dst, kernel.Of[uint8](t)[lo:hi], f, 1)
	}
}

// storeInt64 casts integers: what does not fit loses its upper bits.
func storeInt64(t *kernel.Tensor, lo int, v []int64, buf *buffers, how narrowing) {
	hi := lo + len(v)
	switch t.DType {
	case tensor.Int8:
		assign(kernel.Of[int8](t)[lo:hi], v)
	case tensor.Int16:
		assign(kernel.Of[int16](t)[lo:hi], v)
	case tensor.Int32:
		assign(kernel.Of[int32](t)[lo:hi], v)
	case tensor.Int64:
		copy(kernel.Of[int64](t)[lo:hi], v)
	case tensor.Uint8:
		assign(kernel.Of[uint8](t)[lo:hi], v)
	case tensor.Uint16:
		assign(kernel.Of[uint16](t)[lo:hi], v)
	case tensor.Uint32:
		assign(kernel.Of[uint32](t)[lo:hi], v)
	case tensor.Uint64:
		assign(kernel.Of[uint64](t)[lo:hi], v)
	case tensor.Bool:
		storeBool(kernel.Of[uint8](t)[lo:hi], v)
	case tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2:
		storeBits(t, lo, v)
	case tensor.Float32:
		assign(kernel.Of[float32](t)[lo:hi], v)
	case tensor.Float64:
		assign(kernel.Of[float64](t)[lo:hi], v)
	default:
		f := buf.odd[:len(v)]
		for i, x := range v {
			f[i] = oddInt(x)
		}
		storeFloat32(t, lo, f, how)
	}
}

// storeUint64 casts as storeInt64 does.
func storeUint64(t *kernel.Tensor, lo int, v []uint64, buf *buffers, how narrowing) {
	switch t.DType {
	case tensor.Float32:
		assign(kernel.Of[float32](t)[lo:], v)
	case tensor.Float64:
		assign(kernel.Of[float64](t)[lo:], v)
	default:
		if isInteger(t.DType) {
			w := buf.i64[:len(v)]
			assign(w, v) // the same bits
			storeInt64(t, lo, w, buf, how)
			return
		}
		f := buf.odd[:len(v)]
		for i, x := range v {
			if f[i] = oddInt(int64(x)); x > math.MaxInt64 {
				f[i] = 2 * oddInt(int64(x>>1|x&1))
			}
		}
		storeFloat32(t, lo, f, how)
	}
}

// storeFloat64 casts floats, rounding once.
func storeFloat64(t *kernel.Tensor, lo int, v []float64, buf *buffers, how narrowing) {
	hi := lo + len(v)
	switch t.DType {
	case tensor.Float64:
		copy(kernel.Of[float64](t)[lo:hi], v)
	case tensor.Float32:
		assign(kernel.Of[float32](t)[lo:hi], v)
	default:
		if isInteger(t.DType) {
			storeTruncated(t, lo, v)
			return
		}
		f := buf.odd[:len(v)]
		for i, x := range v {
			f[i] = oddFloat(x)
		}
		storeFloat32(t, lo, f, how)
	}
}

// storeFloat32 casts floats, rounding once.
func storeFloat32(t *kernel.Tensor, lo int, v []float32, how narrowing) {
	hi := lo + len(v)
	switch t.DType {
	case tensor.Float32:
		copy(kernel.Of[float32](t)[lo:hi], v)
	case tensor.Float64:
		assign(kernel.Of[float64](t)[lo:hi], v)
	case tensor.Float16, tensor.BFloat16:
		halfOf(t.DType).narrow(kernel.Of[uint16](t)[lo:hi], v)
	case tensor.Float8E8M0:
		dst := kernel.Of[uint8](t)[lo:hi]
		for i, x := range v {
			dst[i] = uint8(float8.E8M0FromFloat32(x, how.rounding, how.overflow))
		}
	case tensor.Float4E2M1:
		dst := kernel.Of[uint8](t)[lo:hi]
		for i, x := range v {
			dst[i] = float4(x)
		}
	default:
		if isInteger(t.DType) {
			storeTruncated(t, lo, v)
			return
		}
		f, _ := kernel.Float8Format(t.DType)
		storeFloat8(kernel.Of[uint8](t)[lo:hi], v, f, how.overflow)
	}
}

// storeFloat8 casts to a float8 format.
func storeFloat8(dst []uint8, v []float32, f float8.Format, o float8.Overflow) {
	if o == float8.Saturate {
		// The fast cast makes every NaN positive: only chunks with NaN are done again.
		if s := float8.CastFloat32(dst, v, f, 1); s.Amax == s.Amax {
			return
		}
	}
	for i, x := range v {
		dst[i] = f.Encode(x, o)
	}
}

// storeTruncated casts floats to integers: the fraction is dropped. What does not fit is undefined in ONNX; here it is the most negative
// number of the int32 or int64 on the way, as x86 processors have it, of which a narrower type takes the lower bits.
func storeTruncated[S float](t *kernel.Tensor, lo int, v []S) {
	hi := lo + len(v)
	switch t.DType {
	case tensor.Bool:
		storeBool(kernel.Of[uint8](t)[lo:hi], v)
	case tensor.Int64:
		dst := kernel.Of[int64](t)[lo:hi]
		for i, x := range v {
			dst[i] = toInt64(float64(x))
		}
	case tensor.Int32:
		dst := kernel.Of[int32](t)[lo:hi]
		for i, x := range v {
			dst[i] = toInt32(float64(x))
		}
	case tensor.Uint64:
		dst := kernel.Of[uint64](t)[lo:hi]
		for i, x := range v {
			if f := float64(x); f >= 0x1p63 && f < 0x1p64 {
				dst[i] = uint64(f)
			} else {
				dst[i] = uint64(toInt64(f))
			}
		}
	case tensor.Uint32:
		truncate(kernel.Of[uint32](t)[lo:hi], v, toInt64)
	case tensor.Int8:
		truncate(kernel.Of[int8](t)[lo:hi], v, toInt32)
	case tensor.Int16:
		truncate(kernel.Of[int16](t)[lo:hi], v, toInt32)
	case tensor.Uint8:
		truncate(kernel.Of[uint8](t)[lo:hi], v, toInt32)
	case tensor.Uint16:
		truncate(kernel.Of[uint16](t)[lo:hi], v, toInt32)
	default:
		var w [chunk]int64
		truncate(w[:len(v)], v, toInt32)
		storeBits(t, lo, w[:len(v)])
	}
}

func truncate[D integer, S float, I int32 | int64](dst []D, src []S, to func(float64) I) {
	for i, x := range src {
		dst[i] = D(to(float64(x)))
	}
}

func toInt64(x float64) int64 {
	if x >= -0x1p63 && x < 0x1p63 {
		return int64(x)
	}
	return math.MinInt64
}

func toInt32(x float64) int32 {
	if x > -0x1p31-1 && x < 0x1p31 {
		return int32(x)
	}
	return math.MinInt32
}

func storeBool[S numeric](dst []uint8, v []S) {
	dst = dst[:len(v)]
	for i, x := range v {
		dst[i] = truth(x != 0)
	}
}

// storeBits keeps the lower two or four bits.
func storeBits(t *kernel.Tensor, lo int, v []int64) {
	shift := 8 - t.DType.Bits()
	if t.DType == tensor.Int4 || t.DType == tensor.Int2 {
		dst := kernel.Of[int8](t)[lo:]
		for i, x := range v {
			dst[i] = int8(x) << shift >> shift
		}
		return
	}
	dst := kernel.Of[uint8](t)[lo:]
	for i, x := range v {
		dst[i] = uint8(x) << shift >> shift
	}
}

// oddFloat is x in float32, rounded to odd: towards zero, and the last bit set where anything was lost. Rounding that to a format at
// least two bits narrower gives what rounding x once would.
func oddFloat(x float64) float32 {
	f := float32(x)
	if float64(f) == x || x != x {
		return f
	}
	b := math.Float32bits(f)
	if math.Abs(float64(f)) > math.Abs(x) {
		b-- // towards zero; from infinity to the largest number
	}
	return math.Float32frombits(b | 1)
}

// oddInt is oddFloat of an integer.
func oddInt(x int64) float32 {
	if x >= -1<<53 && x <= 1<<53 {
		return oddFloat(float64(x))
	}
	// Beyond 53 bits the lower ones matter only in being zero or not.
	low := x & 0xFFF
	x -= low
	if low != 0 {
		x |= 1 << 12
	}
	return oddFloat(float64(x))
}
