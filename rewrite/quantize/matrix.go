package quantize

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Matrix is a constant matrix read as W [N, K]: N output channels of K inputs. The source's bytes hold it in that order, or as
// [K, N] when Transposed.
type Matrix struct {
	Source     *tensor.Tensor
	N, K       int64
	Transposed bool
}

// Check says why the matrix cannot be quantized: an element type other than float32, float16 and bfloat16, or a source of
// another size than N·K elements.
func (m Matrix) Check() error {
	switch m.Source.DType {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		return fmt.Errorf("weight: got %s, want float32, float16 or bfloat16", m.Source.DType)
	}
	want, err := tensor.Shape{m.N, m.K}.Elements()
	if err != nil {
		return err
	}
	if got := m.Source.Elements(); got != want {
		return fmt.Errorf("weight: source %s has %d elements, want %d×%d", m.Source.Shape, got, m.N, m.K)
	}
	return nil
}

// rows is the source as rows of bytes: one per output channel, or one per input when transposed.
type rows struct {
	data  []byte
	dtype tensor.DType
	width int // bytes of an element
	count int // rows
	len   int // elements of a row
}

func (m Matrix) rows() (rows, error) {
	data, err := m.Source.Bytes()
	if err != nil {
		return rows{}, err
	}
	r := rows{data: data, dtype: m.Source.DType, width: m.Source.DType.Bits() / 8, count: int(m.N), len: int(m.K)}
	if m.Transposed {
		r.count, r.len = r.len, r.count
	}
	return r, nil
}

// segment is the bytes of elements [lo, hi) of row i.
func (r rows) segment(i, lo, hi int) []byte {
	base := i * r.len
	return r.data[(base+lo)*r.width : (base+hi)*r.width]
}

// A mapped protobuf field starts anywhere, so these views may not be aligned for their type. The processors that Go runs on read
// such values, and float8 takes them.
func asFloat32(b []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func asUint32(b []byte) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
}

func asUint16(b []byte) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/2)
}

// amax is the largest magnitude of a segment; NaN if an element is.
func amax(dtype tensor.DType, b []byte) float32 {
	switch dtype {
	case tensor.Float32:
		return float8.AmaxFloat32(asFloat32(b))
	case tensor.Float16:
		return float8.AmaxFloat16(asUint16(b))
	default:
		return float8.AmaxBFloat16(asUint16(b))
	}
}

// cast is the one pass over a segment that makes codes, counts, and sums the squares of values and errors.
func cast(dst []byte, dtype tensor.DType, b []byte, scale float32) float8.Stats {
	switch dtype {
	case tensor.Float32:
		return float8.CastFloat32WithError(dst, asFloat32(b), float8.E4M3FNFormat, scale)
	case tensor.Float16:
		return float8.CastFloat16WithError(dst, asUint16(b), float8.E4M3FNFormat, scale)
	default:
		return float8.CastBFloat16WithError(dst, asUint16(b), float8.E4M3FNFormat, scale)
	}
}

// CountNonfinite counts the elements that are NaN or infinite.
func CountNonfinite(m Matrix) (int64, error) {
	if err := m.Check(); err != nil {
		return 0, err
	}
	r, err := m.rows()
	if err != nil {
		return 0, err
	}
	return guarded(func() (int64, error) {
		var n int64
		exponent := map[tensor.DType]uint32{tensor.Float32: 0x7F800000, tensor.Float16: 0x7C00, tensor.BFloat16: 0x7F80}[r.dtype]
		for i := 0; i < len(r.data); i += r.width {
			bits := uint32(binary.LittleEndian.Uint16(r.data[i:]))
			if r.width == 4 {
				bits = binary.LittleEndian.Uint32(r.data[i:])
			}
			if bits&exponent == exponent {
				n++
			}
		}
		return n, nil
	})
}
