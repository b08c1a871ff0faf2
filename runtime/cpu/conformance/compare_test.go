package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// tolerance is the difference that a floating-point output may have: |got − want| ≤ abs + rel·|want|.
type tolerance struct{ rel, abs float64 }

// suiteTolerance is that of the ONNX project's own runner for the tests (onnx/backend/test/runner).
var suiteTolerance = tolerance{1e-3, 1e-7}

// toleranceOf is the tolerance of a test: the suite's own, or what tolerances says.
func toleranceOf(test string) tolerance {
	if t, ok := tolerances[test]; ok {
		return t.tolerance
	}
	return suiteTolerance
}

func compare(got, want runtime.Value, tol tolerance) error {
	if got.Kind != want.Kind {
		return fmt.Errorf("value of kind %d, want %d", got.Kind, want.Kind)
	}
	if want.Kind != runtime.TensorValue {
		if len(got.Items) != len(want.Items) {
			return fmt.Errorf("%d elements, want %d", len(got.Items), len(want.Items))
		}
		for i := range want.Items {
			if err := compare(got.Items[i], want.Items[i], tol); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		return nil
	}
	return compareTensors(got.Tensor, want.Tensor, tol)
}

func compareTensors(got, want *tensor.Tensor, tol tolerance) error {
	if got == nil {
		return fmt.Errorf("no tensor")
	}
	if got.DType != want.DType || !got.Shape.Equal(want.Shape) {
		return fmt.Errorf("%s%s, want %s%s", got.DType, got.Shape, want.DType, want.Shape)
	}
	if want.DType == tensor.String {
		for i := range want.Strings {
			if !bytes.Equal(got.Strings[i], want.Strings[i]) {
				return fmt.Errorf("element %d: %q, want %q", i, got.Strings[i], want.Strings[i])
			}
		}
		return nil
	}
	g, err := got.Bytes()
	if err != nil {
		return err
	}
	w, err := want.Bytes()
	if err != nil {
		return err
	}
	if len(g) != len(w) {
		return fmt.Errorf("%d bytes, want %d", len(g), len(w))
	}
	if want.DType == tensor.Float4E2M1 {
		g, w = nibbles(g), nibbles(w)
	}
	decode, width := decoder(want.DType)
	if decode == nil {
		if !bytes.Equal(g, w) {
			return fmt.Errorf("%s: % x, want % x", want.DType, g[:min(len(g), 32)], w[:min(len(w), 32)])
		}
		return nil
	}
	for i := 0; i+width <= len(w); i += width {
		a, b := decode(g[i:]), decode(w[i:])
		switch {
		case a == b, math.IsNaN(a) && math.IsNaN(b):
		case math.Abs(a-b) <= tol.abs+tol.rel*math.Abs(b): // false for NaN
		default:
			return fmt.Errorf("element %d: %v, want %v", i/width, a, b)
		}
	}
	return nil
}

// decoder reads an element of a floating-point type whose NaN has more than one code or whose zero has a sign; nil for types that are
// compared as bytes.
func decoder(d tensor.DType) (func([]byte) float64, int) {
	le := binary.LittleEndian
	switch d {
	case tensor.Float32, tensor.Complex64:
		return func(b []byte) float64 { return float64(math.Float32frombits(le.Uint32(b))) }, 4
	case tensor.Float64, tensor.Complex128:
		return func(b []byte) float64 { return math.Float64frombits(le.Uint64(b)) }, 8
	case tensor.Float16:
		return func(b []byte) float64 { return float64(float8.Float16(le.Uint16(b)).Float32()) }, 2
	case tensor.BFloat16:
		return func(b []byte) float64 { return float64(float8.BFloat16(le.Uint16(b)).Float32()) }, 2
	case tensor.Float8E4M3FN:
		return func(b []byte) float64 { return float64(float8.E4M3FN(b[0]).Float32()) }, 1
	case tensor.Float8E5M2:
		return func(b []byte) float64 { return float64(float8.E5M2(b[0]).Float32()) }, 1
	case tensor.Float4E2M1:
		return func(b []byte) float64 {
			v := [8]float64{0, 0.5, 1, 1.5, 2, 3, 4, 6}[b[0]&7]
			if b[0]&8 != 0 {
				v = -v
			}
			return v
		}, 1
	}
	return nil, 0
}

// nibbles is the codes of 4-bit elements, two to a byte and the low one first.
func nibbles(b []byte) []byte {
	out := make([]byte, 0, 2*len(b))
	for _, x := range b {
		out = append(out, x&15, x>>4)
	}
	return out
}
