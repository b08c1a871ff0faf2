package arith

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// op names a loop; a generic function cannot be passed without its type, a name can.
type op uint8

const (
	opAdd op = iota
	opSub
	opMul
	opDiv
	opMax
	opMin
	opFloorMod
	opMod
	opPRelu
	opAnd
	opOr
	opXor
	opLeft
	opRight
)

// anyLoop is a loop that all numbers have.
func anyLoop[T numeric](o op) func(dst, a, b []T) {
	switch o {
	case opAdd:
		return add[T]
	case opSub:
		return sub[T]
	case opMul:
		return mul[T]
	case opMax:
		return maxima[T]
	case opMin:
		return minima[T]
	case opPRelu:
		return prelu[T]
	}
	return nil
}

// intLoop is a loop of integers.
func intLoop[T integer](o op) func(dst, a, b []T) {
	switch o {
	case opDiv:
		return divInt[T]
	case opMod:
		return remInt[T]
	case opFloorMod:
		return modInt[T]
	case opAnd:
		return and[T]
	case opOr:
		return or[T]
	case opXor:
		return xor[T]
	}
	return anyLoop[T](o)
}

// uintLoop is a loop of unsigned integers.
func uintLoop[T unsigned](o op) func(dst, a, b []T) {
	switch o {
	case opLeft:
		return left[T]
	case opRight:
		return right[T]
	}
	return intLoop[T](o)
}

// floatLoop is a loop of floats.
func floatLoop[T float](o op) func(dst, a, b []T) {
	switch o {
	case opDiv:
		return div[T]
	case opMod:
		return remFloat[T]
	}
	return anyLoop[T](o)
}

// loopsOf are the loops of an operator.
func loopsOf(o op) loops2 {
	return loops2{f32: float32Loop(o), f64: floatLoop[float64](o), i8: intLoop[int8](o), i16: intLoop[int16](o), i32: intLoop[int32](o),
		i64: intLoop[int64](o), u8: uintLoop[uint8](o), u16: uintLoop[uint16](o), u32: uintLoop[uint32](o), u64: uintLoop[uint64](o)}
}

func add[T numeric](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func sub[T numeric](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] - b[i]
	}
}

func mul[T numeric](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] * b[i]
	}
}

func div[T float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] / b[i]
	}
}

// divInt rounds towards zero; a division by zero gives 0, as the reference implementation has it.
func divInt[T integer](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		var q T
		if b[i] != 0 {
			q = a[i] / b[i]
		}
		dst[i] = q
	}
}

// remInt is the remainder with the sign of the dividend, 0 for a divisor of 0.
func remInt[T integer](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		var r T
		if b[i] != 0 {
			r = a[i] % b[i]
		}
		dst[i] = r
	}
}

// modInt is the remainder with the sign of the divisor, 0 for a divisor of 0.
func modInt[T integer](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		var r T
		if b[i] != 0 {
			if r = a[i] % b[i]; r != 0 && (r < 0) != (b[i] < 0) {
				r += b[i]
			}
		}
		dst[i] = r
	}
}

func remFloat[T float](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = T(math.Mod(float64(a[i]), float64(b[i])))
	}
}

// maxima and minima are NaN where one operand is.
func maxima[T numeric](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = max(a[i], b[i])
	}
}

func minima[T numeric](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = min(a[i], b[i])
	}
}

func prelu[T numeric](dst, x, slope []T) {
	x, slope = x[:len(dst)], slope[:len(dst)]
	for i := range dst {
		v := x[i]
		if v < 0 {
			v *= slope[i]
		}
		dst[i] = v
	}
}

func and[T integer](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] & b[i]
	}
}

func or[T integer](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] | b[i]
	}
}

func xor[T integer](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] ^ b[i]
	}
}

func left[T unsigned](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] << b[i]
	}
}

func right[T unsigned](dst, a, b []T) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] >> b[i]
	}
}

// arithmetic is the Maker of an operator of loopsOf.
func arithmetic(o op) kernel.Maker { return pairs(tensor.Undefined, loopsOf(o).of) }

// bitwise is the Maker of an operator on the bits of integers.
func bitwise(o op) kernel.Maker {
	l := loopsOf(o)
	l.f32, l.f64 = nil, nil
	return plain(applyPairs(tensor.Undefined, l.of, nil))
}

// logical is the Maker of an operator on bools.
func logical(o op) kernel.Maker { return pairs(tensor.Undefined, loops2{bool: uintLoop[uint8](o)}.of) }

func makeMod(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"fmod": graph.AttrInt}); err != nil {
		return nil, err
	}
	if flag(s, "fmod", 0) {
		return applyPairs(tensor.Undefined, loopsOf(opMod).of, nil), nil
	}
	l := loopsOf(opFloorMod)
	f := applyPairs(tensor.Undefined, l.of, nil)
	return func(c *kernel.Call) error {
		if t := c.Optional(0); t != nil && isFloat(t.DType) {
			return fmt.Errorf("input 0 is %s, which needs attribute \"fmod\" to be 1", t.DType)
		}
		return f(c)
	}, nil
}

func makeBitShift(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"direction": graph.AttrString}); err != nil {
		return nil, err
	}
	o := opLeft
	switch d := s.Node.AttrString("direction", ""); d {
	case "LEFT":
	case "RIGHT":
		o = opRight
	default:
		return nil, fmt.Errorf("attribute \"direction\" is %q, want \"LEFT\" or \"RIGHT\"", d)
	}
	l := loops2{u8: uintLoop[uint8](o), u16: uintLoop[uint16](o), u32: uintLoop[uint32](o), u64: uintLoop[uint64](o)}
	return applyPairs(tensor.Undefined, l.of, nil), nil
}

// makePRelu makes PRelu: the slope broadcasts to the input, never the other way round. Before opset 7 the slope had one element, or one
// for each channel, axis 1.
func makePRelu(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, nil); err != nil {
		return nil, err
	}
	align := func(a, b []int) ([]int, error) {
		shape := b
		if s.Opset < 7 && len(b) == 1 && b[0] != 1 && len(a) > 1 {
			shape = append([]int(nil), b...)
			for range len(a) - 2 {
				shape = append(shape, 1)
			}
		}
		out, err := kernel.Broadcast(a, shape)
		if err == nil && (len(out) != len(a) || kernel.Count(out) != kernel.Count(a)) {
			err = fmt.Errorf("slope %s does not broadcast to %s", kernel.ShapeString(b), kernel.ShapeString(a))
		}
		return shape, err
	}
	return applyPairs(tensor.Undefined, loopsOf(opPRelu).of, align), nil
}

// binaries are the operators with two inputs and their type.
func binaries() kernel.Table {
	return kernel.Table{
		"Add":        arithmetic(opAdd),
		"Sub":        arithmetic(opSub),
		"Mul":        arithmetic(opMul),
		"Div":        arithmetic(opDiv),
		"Mod":        makeMod,
		"BitShift":   makeBitShift,
		"PRelu":      makePRelu,
		"BitwiseAnd": bitwise(opAnd),
		"BitwiseOr":  bitwise(opOr),
		"BitwiseXor": bitwise(opXor),
		"And":        logical(opAnd),
		"Or":         logical(opOr),
		"Xor":        logical(opXor),
	}
}
