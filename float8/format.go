package float8

import "fmt"

// Format names one of the four float8 number formats that bulk functions take
// as an argument. The zero Format is none of them, and using it panics. E8M0 is
// not a Format: it has no sign and no fraction, and nothing is scaled into it.
type Format uint8

// The float8 formats.
const (
	E4M3FNFormat Format = iota + 1
	E5M2Format
	E4M3FNUZFormat
	E5M2FNUZFormat
)

// String returns the format's name as the safetensors and ONNX worlds write it,
// without their prefixes.
func (f Format) String() string {
	switch f {
	case E4M3FNFormat:
		return "E4M3FN"
	case E5M2Format:
		return "E5M2"
	case E4M3FNUZFormat:
		return "E4M3FNUZ"
	case E5M2FNUZFormat:
		return "E5M2FNUZ"
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// Valid reports whether f is one of the four formats.
func (f Format) Valid() bool { return f >= E4M3FNFormat && f <= E5M2FNUZFormat }

// Max returns the largest finite value: 448, 57344, 240 or 57344.
func (f Format) Max() float32 { return decode(f.layout().maxCode, f.layout()) }

// SmallestNonzero returns the smallest positive value, a subnormal.
func (f Format) SmallestNonzero() float32 { return decode(1, f.layout()) }

// Encode casts x to the format's code. See the package documentation for
// rounding and special values.
func (f Format) Encode(x float32, o Overflow) uint8 { return encode(x, f.layout(), o) }

// Decode returns the value of a code, exactly.
func (f Format) Decode(code uint8) float32 { return decode(code, f.layout()) }

// Overflow says what a cast does with a value that rounds beyond the largest
// finite one.
type Overflow uint8

const (
	// Saturate clamps to the largest finite value, infinities included.
	Saturate Overflow = iota
	// NoSaturate gives the format's infinity, or its NaN where it has none.
	NoSaturate
)

// String returns "saturate" or "no-saturate".
func (o Overflow) String() string {
	if o == Saturate {
		return "saturate"
	}
	return "no-saturate"
}

// layout is a format as numbers. All float32 values are held as their bits,
// since magnitudes order the same way as their bit patterns do.
type layout struct {
	man       uint   // mantissa bits
	shift     uint   // 23 - man: float32 mantissa bits that the format lacks
	maxCode   uint8  // code of the largest finite value
	nan       uint8  // the positive NaN code that casts produce
	overflow  uint8  // what NoSaturate gives above the range, without sign
	fnuz      bool   // one zero, one NaN, code 0x80
	first     uint32 // smallest float32 magnitude that rounds above maxCode
	minNormal uint32 // smallest normal magnitude
	magic     uint32 // power of two whose float32 ulp is the smallest subnormal
	rebias    uint32 // exponent bias difference, in the code's position
}

func newLayout(man uint, bias uint32, maxCode, nan, overflow uint8, fnuz bool, first uint32) layout {
	return layout{
		man: man, shift: 23 - man, maxCode: maxCode, nan: nan, overflow: overflow, fnuz: fnuz, first: first,
		minNormal: (128 - bias) << 23,
		// The smallest subnormal is 2^(1-bias-man); a float32 of exponent e has an ulp of 2^(e-23).
		magic:  (127 + 23 + 1 - bias - uint32(man)) << 23,
		rebias: (127 - bias) << man,
	}
}

var layouts = [...]layout{
	E4M3FNFormat:   newLayout(3, 7, 0x7E, 0x7F, 0x7F, false, 0x43E80001),  // just above 464
	E5M2Format:     newLayout(2, 15, 0x7B, 0x7F, 0x7C, false, 0x47700000), // 61440
	E4M3FNUZFormat: newLayout(3, 8, 0x7F, 0x80, 0x80, true, 0x43780000),   // 248
	E5M2FNUZFormat: newLayout(2, 16, 0x7F, 0x80, 0x80, true, 0x47700000),  // 61440
}

func (f Format) layout() *layout {
	if !f.Valid() {
		panic("float8: " + f.String() + " is not a format")
	}
	return &layouts[f]
}
