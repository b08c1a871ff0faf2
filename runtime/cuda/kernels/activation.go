package kernels

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Act is an activation, as its kernels are called.
type Act string

// The activations. SiLUMul and Add take two operands.
const (
	SiLUMul  Act = "silu_mul"  // a/(1+exp(-a))·b, the first factor rounded to the type, as the operator before the product leaves it
	SiLU     Act = "silu"      // a/(1+exp(-a))
	GELUErf  Act = "gelu_erf"  // a·(1+erf(a/√2))/2
	GELUTanh Act = "gelu_tanh" // a·(1+tanh(√(2/π)·(a+0.044715·a³)))/2
	ReLU     Act = "relu"      // max(a, 0)
	Add      Act = "add"       // a + b
)

// Activation is an activation of rows×cols values of type T (F32 or BF16).
type Activation struct {
	Act        Act
	T          Type
	A, B       driver.Ptr
	ALd, BLd   int64      // elements from row to row; 0: the columns
	Y          driver.Ptr // the result, contiguous; may be 0
	Codes      Codes
	Rows, Cols int64
}

// Activate computes an activation.
func (s *Set) Activate(a Activation, stream driver.Stream) error {
	kernel := string(a.Act)
	if a.T != F32 && a.T != BF16 {
		return &TypeError{kernel, "input", a.T}
	}
	two := a.Act == SiLUMul || a.Act == Add
	if two != (a.B != 0) {
		return fmt.Errorf("kernel %s: second operand given: %t, want %t", kernel, a.B != 0, two)
	}
	ld, err := a.Codes.check(kernel, a.Cols)
	if err != nil {
		return err
	}
	if a.ALd == 0 {
		a.ALd = a.Cols
	}
	if a.BLd == 0 {
		a.BLd = a.Cols
	}
	return launch(s, kernel+"_"+a.T.suffix(), s.turns(a.Rows*((a.Cols+7)/8), threads, 32, stream), &actArgs{a: a.A, b: a.B, y: a.Y,
		codes: a.Codes.To, scale: a.Codes.Scale, amax: a.Codes.Amax, rows: a.Rows, cols: a.Cols, aLd: a.ALd, bLd: a.BLd, codeLd: ld,
		format: a.Codes.Format})
}
