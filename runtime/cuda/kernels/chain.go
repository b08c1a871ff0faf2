package kernels

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Op is an instruction of a [Chain]. x is the accumulator, z the operand.
type Op uint8

// The instructions with an operand.
const (
	OpLoad         Op = iota + 1 // z
	OpSave                       // keeps x as saved value Index
	OpAdd                        // x + z
	OpSub                        // x - z
	OpRSub                       // z - x
	OpMul                        // x · z
	OpDiv                        // x / z
	OpRDiv                       // z / x
	OpPow                        // x to the power of z
	OpRPow                       // z to the power of x
	OpMin                        // NaN if either is
	OpMax                        // NaN if either is
	OpLess                       // x < z: 1 or 0, as the next ones
	OpLessEqual                  // x <= z
	OpGreater                    // x > z
	OpGreaterEqual               // x >= z
	OpEqual                      // x = z
	OpAnd                        // neither is 0
	OpOr                         // not both are 0
	OpXor                        // one of them is 0
	OpKeepIf                     // x where z is not 0, elsewhere saved value 2
	OpPRelu                      // x, or x·z where x is below 0
)

// The instructions without an operand.
const (
	OpNeg Op = iota + 64
	OpAbs
	OpSqrt
	OpReciprocal
	OpExp
	OpLog
	OpTanh
	OpSigmoid
	OpErf
	OpSin
	OpCos
	OpRelu
	OpFloor
	OpCeil
	OpRound // to the nearest integer, ties to even
	OpSign
	OpNot // 1 if x is 0, else 0
	OpSquare
	OpSoftplus
	OpGELUErf
	OpGELUTanh
	OpSiLU
	OpRoundF16  // to the nearest float16
	OpRoundBF16 // to the nearest bfloat16
	OpIsNaN
	OpRsqrt
	opEnd
)

// Operand says where an instruction's operand comes from. The zero Operand is none.
type Operand struct {
	kind, index uint8
	constant    float32
}

// Input is input i of the chain, Saved value i of those kept by OpSave, Constant a number.
func Input(i int) Operand        { return Operand{kind: 1, index: uint8(i)} }
func Saved(i int) Operand        { return Operand{kind: 2, index: uint8(i)} }
func Constant(v float32) Operand { return Operand{kind: 3, constant: v} }
func (o Operand) fits(in int) bool {
	switch o.kind {
	case 1:
		return int(o.index) < in
	case 2:
		return o.index < chainSaved
	}
	return o.kind == 3
}

// Step is one instruction. OpSave's operand is the Saved value that it writes.
type Step struct {
	Op   Op
	With Operand
}

// ChainInput is an operand in memory, read by strides; 0 repeats. See [Broadcast].
type ChainInput struct {
	P       driver.Ptr
	T       Type // F32, F16, BF16, Bool, I32 or I64; integers count as float32
	Strides []int64
}

// Chain is a program of elementwise operators: it begins with input 0 as the accumulator, and what it ends with is the output.
type Chain struct {
	Dims   []int64 // of the output
	Inputs []ChainInput
	Steps  []Step
	Y      driver.Ptr // contiguous; may be 0, and may be an input that is contiguous too
	T      Type       // of the output: F32, F16, BF16, or Bool
	Codes  Codes      // rows of codes are as long as the last dimension
}

// chainLayout joins dimensions for the kernel, whose rows of codes are as long as the last of them and ld apart. The output takes part,
// which is contiguous, and so do the codes: where a gap follows a row of them, the last dimension stays what it is, even 1.
func chainLayout(dims []int64, strides [][]int64, ld int64) ([]int64, [][]int64, int64) {
	last := len(dims) - 1
	if last < 0 || ld == dims[last] {
		dims, strides = collapse(dims, strides...)
		return dims, strides, max(ld, dims[len(dims)-1])
	}
	outer := make([][]int64, len(strides))
	for i, s := range strides {
		outer[i] = s[:last]
	}
	joined, outer := collapse(dims[:last], outer...)
	for i, s := range strides {
		outer[i] = append(outer[i], s[last])
	}
	return append(joined, dims[last]), outer, ld
}

// Chain runs a program over every element. At most 6 inputs and 24 steps fit, and five dimensions that cannot be joined.
func (s *Set) Chain(c Chain, stream driver.Stream) error {
	if c.T.suffix() == "" && c.T != Bool {
		return &TypeError{"chain", "output", c.T}
	}
	if len(c.Inputs) < 1 || len(c.Inputs) > chainInputs || len(c.Steps) > chainSteps {
		return &SizeError{"chain", "number of inputs and steps", fmt.Sprintf("%d and %d", len(c.Inputs), len(c.Steps)),
			fmt.Sprintf("1 to %d and at most %d", chainInputs, chainSteps)}
	}
	if product(c.Dims) == 0 {
		return nil
	}
	strides := make([][]int64, len(c.Inputs))
	for i, in := range c.Inputs {
		switch in.T {
		case F32, F16, BF16, Bool, I32, I64:
		default:
			return &TypeError{"chain", fmt.Sprintf("input %d", i), in.T}
		}
		if len(in.Strides) != len(c.Dims) {
			return &SizeError{"chain", fmt.Sprintf("rank of input %d", i), fmt.Sprint(len(in.Strides)), fmt.Sprint(len(c.Dims))}
		}
		strides[i] = in.Strides
	}
	cols := int64(1)
	if len(c.Dims) > 0 {
		cols = c.Dims[len(c.Dims)-1]
	}
	ld, err := c.Codes.check("chain", cols)
	if err != nil {
		return err
	}
	dims, joined, ld := chainLayout(c.Dims, strides, ld)
	if len(dims) > rank {
		return &SizeError{"chain", "number of dimensions", fmt.Sprint(len(dims)), fmt.Sprintf("at most %d that cannot be joined", rank)}
	}
	a := &chainArgs{dim: five(dims, 1), codeLd: ld, y: c.Y, codes: c.Codes.To, scale: c.Codes.Scale, amax: c.Codes.Amax, steps: int32(len(c.Steps)),
		outType: c.T, format: c.Codes.Format}
	for i, in := range c.Inputs {
		a.in[i] = chainInput{p: in.P, stride: five(joined[i], 0), typ: in.T}
	}
	for i, st := range c.Steps {
		unary := st.Op >= OpNeg
		switch {
		case st.Op < OpLoad || st.Op > OpPRelu && !unary || st.Op >= opEnd:
			return fmt.Errorf("kernel chain: step %d: no instruction %d", i, st.Op)
		case unary && st.With != Operand{}, !unary && !st.With.fits(len(c.Inputs)), st.Op == OpSave && st.With.kind != 2:
			return fmt.Errorf("kernel chain: step %d: instruction %d does not take operand %+v", i, st.Op, st.With)
		}
		a.step[i] = chainStep{op: uint8(st.Op), kind: st.With.kind, index: st.With.index, constant: st.With.constant}
	}
	n := product(dims[:len(dims)-1]) * ((dims[len(dims)-1] + 7) / 8)
	return launch(s, "chain", s.turns(n, threads, 32, stream), a)
}
