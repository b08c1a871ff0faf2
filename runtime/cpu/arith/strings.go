package arith

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// convertStrings casts to or from strings.
func convertStrings(dst, src *kernel.Tensor, how narrowing) error {
	if src.DType == dst.DType {
		copy(dst.Strings, src.Strings)
		return nil
	}
	buf := conversions.Get().(*buffers)
	defer conversions.Put(buf)
	if dst.DType == tensor.String {
		return formatAll(dst.Strings, src)
	}
	if !castable(dst.DType) {
		return fmt.Errorf("no cast from %s to %s", src.DType, dst.DType)
	}
	for i, s := range src.Strings {
		if err := parseTo(dst, i, strings.TrimSpace(s), buf, how); err != nil {
			return fmt.Errorf("element %d is %q, which is no number", i, s)
		}
	}
	return nil
}

// parseTo writes the number that s spells to element i.
func parseTo(dst *kernel.Tensor, i int, s string, buf *buffers, how narrowing) error {
	if isInteger(dst.DType) {
		if v, err := strconv.ParseInt(s, 10, 64); err == nil {
			storeInt64(dst, i, append(buf.i64[:0], v), buf, how)
			return nil
		}
		if v, err := strconv.ParseUint(s, 10, 64); err == nil {
			storeUint64(dst, i, append(buf.u64[:0], v), buf, how)
			return nil
		}
		if v, err := strconv.ParseBool(s); err == nil && dst.DType == tensor.Bool {
			storeInt64(dst, i, append(buf.i64[:0], int64(truth(v))), buf, how)
			return nil
		}
	}
	bits := 64
	if dst.DType == tensor.Float32 {
		bits = 32 // parsed with one rounding
	}
	v, err := strconv.ParseFloat(s, bits)
	if err != nil && !math.IsInf(v, 0) { // out of range is infinite
		return err
	}
	storeFloat64(dst, i, append(buf.f64[:0], v), buf, how)
	return nil
}

// formatAll spells every element.
func formatAll(dst []string, src *kernel.Tensor) error {
	if !castable(src.DType) {
		return fmt.Errorf("no cast from %s to string", src.DType)
	}
	switch {
	case src.DType == tensor.Bool:
		for i, v := range kernel.Of[uint8](src) {
			dst[i] = "False"
			if v != 0 {
				dst[i] = "True"
			}
		}
	case src.DType == tensor.Uint64:
		for i, v := range kernel.Of[uint64](src) {
			dst[i] = strconv.FormatUint(v, 10)
		}
	case src.DType == tensor.Float64:
		for i, v := range kernel.Of[float64](src) {
			dst[i] = spell(v, 64)
		}
	case isInteger(src.DType):
		v := make([]int64, len(dst))
		loadInt64(v, src, 0)
		for i, x := range v {
			dst[i] = strconv.FormatInt(x, 10)
		}
	default:
		v := make([]float32, len(dst))
		loadFloat32(v, src, 0)
		for i, x := range v {
			if src.DType == tensor.Float16 {
				dst[i] = spellHalf(x)
			} else {
				dst[i] = spell(float64(x), 32)
			}
		}
	}
	return nil
}

// spell is the shortest text that reads back as v, as the reference implementation's numpy writes it: plain from 1e-4 to below 1e16, with
// ".0" after whole numbers, else with an exponent of at least two digits.
func spell(v float64, bits int) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	case a != 0 && (a < 1e-4 || a >= 1e16):
		return strconv.FormatFloat(v, 'e', -1, bits)
	}
	s := strconv.FormatFloat(v, 'f', -1, bits)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// spellHalf is the shortest text that reads back as the float16 v.
func spellHalf(v float32) string {
	if a := math.Abs(float64(v)); v == 0 || !(a <= math.MaxFloat32) {
		return spell(float64(v), 32)
	}
	for digits := range 9 {
		f, err := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'e', digits, 64), 64)
		if err == nil && float8.Float16FromFloat32(oddFloat(f)).Float32() == v {
			return spell(f, 64)
		}
	}
	return spell(float64(v), 32)
}
