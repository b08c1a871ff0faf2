package lt

import (
	"fmt"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Operands is where the matrices of a product lie. Scales are float32 and multiply: a value is its code times its scale. They may be
// left out, and are 1 then.
type Operands struct {
	X, W, Y driver.Ptr

	ScaleX, ScaleW driver.Ptr // of float8 inputs: a scalar, or a vector where the problem says so
	ScaleY         driver.Ptr // of a float8 output: it is multiplied by this before it is rounded
	Bias           driver.Ptr
}

// Matmul launches a product in the order of a stream and does not wait. All addresses are checked first: the error is an [*AddressError]
// then, and nothing was launched.
func (h *Handle) Matmul(c *driver.Context, plan *Plan, o Operands, s driver.Stream) error {
	if err := plan.check(o); err != nil {
		return err
	}
	for i, p := range [4]driver.Ptr{o.Bias, o.ScaleW, o.ScaleX, o.ScaleY} {
		if err := plan.point(h.lib, i, p); err != nil {
			return err
		}
	}
	// The matrix that is added is never read, beta being 0. In float8 products the library wants none; in others the output serves.
	added := o.Y
	if plan.Problem.X.Float8() {
		added = 0
	}
	err := h.lib.call(fnMatmul, h.handle, plan.desc, uintptr(unsafe.Pointer(&h.one)),
		uintptr(o.W), plan.w, uintptr(o.X), plan.x, uintptr(unsafe.Pointer(&h.zero)),
		uintptr(added), plan.c, uintptr(o.Y), plan.y,
		uintptr(unsafe.Pointer(&plan.algo)), uintptr(h.workspace), uintptr(h.room), uintptr(s))
	if err != nil {
		return fmt.Errorf("%v: %w", plan.Problem, lost(c, err))
	}
	return nil
}

// check says which address cannot be used. The library itself finds a bad matrix or scale only after its heuristic has passed, and a bad
// bias not at all: the kernel then ends the context.
func (p *Plan) check(o Operands) error {
	type operand struct {
		name     string
		at       driver.Ptr
		align    int
		required bool
		allowed  bool
	}
	q := p.Problem
	float8 := q.X.Float8()
	for _, a := range [...]operand{
		{"x", o.X, alignment, true, true},
		{"w", o.W, alignment, true, true},
		{"y", o.Y, alignment, true, true},
		{"scaleX", o.ScaleX, alignment, q.Rows, float8 && !p.MultiplyX},
		{"scaleW", o.ScaleW, alignment, q.Channels, float8 && !p.MultiplyW},
		{"scaleY", o.ScaleY, alignment, false, q.Y.Float8()},
		{"bias", o.Bias, alignment, q.Bias != None, q.Bias != None},
	} {
		var want string
		switch {
		case a.at == 0 && a.required:
			want = "an address"
		case a.at != 0 && !a.allowed:
			want = "none: the plan has no such operand"
		case a.at%driver.Ptr(a.align) != 0:
			want = fmt.Sprintf("a multiple of %d", a.align)
		default:
			continue
		}
		return &AddressError{Problem: q, Operand: a.name, Got: a.at, Want: want}
	}
	return nil
}
