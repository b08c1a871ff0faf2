package cpu

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// opcode is what the machine of rows can do with one row.
type opcode uint8

const (
	rowAdd opcode = iota
	rowSub
	rowMul
	rowDiv
	rowMin
	rowMax
	rowNeg
	rowSquare
	rowCube
	rowSqrt
	rowReciprocal
	rowExp
	rowTanh
	rowSigmoid
	rowErf
	rowRelu
	rowNotBelow // max(a, imm)
	rowNotAbove // min(a, imm)
	rowSum
	rowMean
	rowMeanSquares
	rowMaximum
	rowSoftmax
	rowNormalize // (a − mean) / √(variance + imm)
	rowRotate    // (−b, a) of the halves a, b, which have imm elements
)

// reduces reports whether an element of the result depends on the whole row.
func (o opcode) reduces() bool { return o >= rowSum }

// toOne reports whether the result has one element for a row.
func (o opcode) toOne() bool { return o >= rowSum && o <= rowMaximum }

// rowInstruction computes register dst from a and, where the opcode has two operands, b.
type rowInstruction struct {
	op        opcode
	a, b, dst int
	imm       float32
}

// rowStep is one member of a group: instructions on its own operands. Operand i of the first instruction is the input at args[i];
// every further instruction takes the result before it as a, and an input or nothing as b.
type rowStep struct {
	op  opcode
	arg int // index of the input that is b; absent for none
	imm float32
}

var rowBinary = map[string]opcode{"Add": rowAdd, "Sub": rowSub, "Mul": rowMul, "Div": rowDiv, "Min": rowMin, "Max": rowMax}

var rowUnary = map[string]opcode{"Neg": rowNeg, "Sqrt": rowSqrt, "Reciprocal": rowReciprocal, "Exp": rowExp, "Tanh": rowTanh,
	"Sigmoid": rowSigmoid, "Erf": rowErf, "Relu": rowRelu}

var rowReduce = map[string]opcode{"ReduceSum": rowSum, "ReduceMean": rowMean, "ReduceMax": rowMaximum}

// rowCode is a step as instructions on its first input; false where the machine of rows does not know it in this form.
func (f *fuser) rowCode(s *step) ([]rowStep, bool) {
	if s.rotate > 0 {
		return []rowStep{{op: rowRotate, arg: absent, imm: float32(s.rotate)}}, true
	}
	n := s.node
	one := func(op opcode) ([]rowStep, bool) { return []rowStep{{op: op, arg: absent}}, true }
	if slices.Contains(s.in, absent) && n.OpType != "Clip" {
		return nil, false
	}
	if op, ok := rowBinary[n.OpType]; ok && len(s.in) == 2 && s.opset >= 7 {
		return []rowStep{{op: op, arg: 1}}, true
	}
	if op, ok := rowUnary[n.OpType]; ok && len(s.in) == 1 && s.opset >= 6 {
		return one(op)
	}
	if op, ok := rowReduce[n.OpType]; ok && f.alongRow(s) {
		return one(op)
	}
	switch n.OpType {
	case "Pow":
		if len(s.in) == 2 && s.opset >= 7 {
			// Other exponents differ from what Pow gives at −0 or at the infinities.
			switch e, _ := f.scalar(s.in[1]); e {
			case 2:
				return one(rowSquare)
			case 3:
				return one(rowCube)
			}
		}
	case "Clip":
		return f.clip(s)
	case "Softmax":
		def := int64(-1)
		if s.opset < 13 {
			def = 1
		}
		if f.lastAxis(s.in[0], n.AttrInt("axis", def)) {
			return one(rowSoftmax)
		}
	case "LayerNormalization":
		// Scale and bias may have more axes than the row; then they are no row's.
		if f.lastAxis(s.in[0], n.AttrInt("axis", -1)) && len(s.in) >= 2 && len(f.typ(s.in[1]).Shape) == 1 && n.AttrInt("stash_type", 1) == 1 {
			code := []rowStep{{op: rowNormalize, arg: absent, imm: n.AttrFloat("epsilon", 1e-5)}, {op: rowMul, arg: 1}}
			if len(s.in) == 3 && len(f.typ(s.in[2]).Shape) == 1 {
				code = append(code, rowStep{op: rowAdd, arg: 2})
			}
			return code, len(code) == len(s.in)
		}
	}
	return nil, false
}

// clip is Clip between constants.
func (f *fuser) clip(s *step) ([]rowStep, bool) {
	var code []rowStep
	if s.opset < 11 {
		code = append(code, rowStep{op: rowNotBelow, arg: absent, imm: s.node.AttrFloat("min", -maxFloat32)},
			rowStep{op: rowNotAbove, arg: absent, imm: s.node.AttrFloat("max", maxFloat32)})
		return code, len(s.in) == 1
	}
	for i, op := range []opcode{rowNotBelow, rowNotAbove} {
		if i+1 >= len(s.in) || s.in[i+1] == absent {
			continue
		}
		v, ok := f.scalar(s.in[i+1])
		if !ok {
			return nil, false
		}
		code = append(code, rowStep{op: op, arg: absent, imm: v})
	}
	return code, len(code) > 0
}

const maxFloat32 = 0x1p127 * (1 + (1 - 0x1p-23))

// lastAxis reports whether axis is the last one of a slot's value.
func (f *fuser) lastAxis(slot int, axis int64) bool {
	if axis == -1 {
		return true
	}
	t := f.typ(slot)
	return t.HasShape && len(t.Shape) > 0 && axis == int64(len(t.Shape)-1)
}

// alongRow reports whether a reduction is along the last axis alone and keeps it.
func (f *fuser) alongRow(s *step) bool {
	if s.node.AttrInt("keepdims", 1) != 1 {
		return false
	}
	axes, ok := s.node.AttrInts("axes")
	if len(s.in) == 2 {
		k := f.p.consts[s.in[1]]
		if k == nil || k.variable {
			return false
		}
		t, isTensor := k.value.(*kernel.Tensor)
		if !isTensor || kernel.ElemSize(t.DType) != 8 || t.Len() != 1 {
			return false
		}
		axes, ok = kernel.Of[int64](t), true
	}
	return ok && len(axes) == 1 && f.lastAxis(s.in[0], axes[0])
}
