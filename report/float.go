package report

import (
	"fmt"
	"math"
	"strconv"
)

// Float32 is a single-precision number in a report. Its JSON is the shortest decimal that reads back to the same float32; JSON has
// no tokens for the numbers that are not finite, so these are the strings "NaN", "Infinity" and "-Infinity".
type Float32 float32

// Float64 is a double-precision number in a report, written like a Float32.
type Float64 float64

// appendFloat appends the JSON of f, which is a bits-wide float: plain digits from 1e-6 up to 1e21, else an exponent without
// padding, as in ECMAScript's Number.prototype.toString.
func appendFloat(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	format := byte('f')
	a := math.Abs(f)
	small, large := a < 1e-6, a >= 1e21
	if bits == 32 { // the bounds are float32 then: 1e-6 in float32 is below 1e-6 in float64
		small, large = float32(a) < 1e-6, float32(a) >= 1e21
	}
	if a != 0 && (small || large) {
		format = 'e'
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	// strconv pads a one-digit exponent with a zero: e-09. JSON numbers here do not.
	if n := len(dst); n-start >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// parseFloat reads what appendFloat writes, from a JSON number or the text of a JSON string.
func parseFloat(text string, quoted bool, bits int) (float64, bool) {
	if quoted {
		switch text {
		case "NaN":
			return math.NaN(), true
		case "Infinity":
			return math.Inf(1), true
		case "-Infinity":
			return math.Inf(-1), true
		}
		return 0, false
	}
	f, err := strconv.ParseFloat(text, bits)
	return f, err == nil
}

// MarshalJSON writes f as the report does.
func (f Float32) MarshalJSON() ([]byte, error) { return appendFloat(nil, float64(f), 32), nil }

// MarshalJSON writes f as the report does.
func (f Float64) MarshalJSON() ([]byte, error) { return appendFloat(nil, float64(f), 64), nil }

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Float32) UnmarshalJSON(data []byte) error {
	v, err := unmarshalFloat(data, 32)
	*f = Float32(v)
	return err
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Float64) UnmarshalJSON(data []byte) error {
	v, err := unmarshalFloat(data, 64)
	*f = Float64(v)
	return err
}

func unmarshalFloat(data []byte, bits int) (float64, error) {
	text, quoted := string(data), false
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text, quoted = text[1:n-1], true
	}
	v, ok := parseFloat(text, quoted, bits)
	if !ok {
		return 0, fmt.Errorf("report: %q is not a float%d", cutMiddle(string(data), maxNameInSentence), bits)
	}
	return v, nil
}
