package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// narrowingOf reads the attributes saturate and round_mode.
func narrowingOf(s *kernel.Site) (narrowing, error) {
	var how narrowing
	if !flag(s, "saturate", 1) {
		how.overflow = float8.NoSaturate
	}
	switch m := s.Node.AttrString("round_mode", "up"); m {
	case "up":
		how.rounding = float8.RoundUp
	case "down":
		how.rounding = float8.RoundDown
	case "nearest":
		how.rounding = float8.RoundNearest
	default:
		return how, fmt.Errorf("attribute \"round_mode\" is %q, want \"up\", \"down\" or \"nearest\"", m)
	}
	return how, nil
}

// typeAttr is an attribute that names an element type; Undefined where it is left out or 0.
func typeAttr(s *kernel.Site, name string) (tensor.DType, error) {
	v := s.Node.AttrInt(name, 0)
	d := tensor.DType(v)
	if v != 0 && (int64(d) != v || !d.Known()) {
		return 0, fmt.Errorf("attribute %q is %d, which is no element type", name, v)
	}
	return d, nil
}

// castTo is output 0: x as type d.
func castTo(c *kernel.Call, x *kernel.Tensor, d tensor.DType, how narrowing) error {
	if x.DType == d {
		c.View(0, x, x.Shape)
		return nil
	}
	if d != tensor.String && !castable(d) {
		return fmt.Errorf("no cast from %s to %s", x.DType, d)
	}
	out, err := c.New(0, d, x.Shape)
	if err != nil {
		return err
	}
	return convert(c.Pool, out, x, how)
}

func makeCast(s *kernel.Site) (kernel.Func, error) {
	err := check(s, attrs{"to": graph.AttrInt, "saturate": graph.AttrInt, "round_mode": graph.AttrString})
	if err != nil {
		return nil, err
	}
	to, err := typeAttr(s, "to")
	if err != nil {
		return nil, err
	}
	if to == tensor.Undefined {
		return nil, fmt.Errorf("attribute \"to\" is missing")
	}
	how, err := narrowingOf(s)
	if err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		return castTo(c, x, to, how)
	}, nil
}

func makeCastLike(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"saturate": graph.AttrInt, "round_mode": graph.AttrString}); err != nil {
		return nil, err
	}
	how, err := narrowingOf(s)
	if err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		x, like, err := operands(c)
		if err != nil {
			return err
		}
		return castTo(c, x, like.DType, how)
	}, nil
}

// makeBitCast makes BitCast: the same bits as a type of the same width.
func makeBitCast(s *kernel.Site) (kernel.Func, error) {
	if err := check(s, attrs{"to": graph.AttrInt}); err != nil {
		return nil, err
	}
	to, err := typeAttr(s, "to")
	if err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		x, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if to.Bits() == 0 || to.Bits() != x.DType.Bits() {
			return fmt.Errorf("input 0 is %s, whose width is not that of %s", x.DType, to)
		}
		if narrow := to.Bits() < 8; narrow && to != x.DType {
			return rebit(c, x, to)
		}
		if to == tensor.Bool && x.DType != to {
			// A bool in memory is 0 or 1 whatever the bits were.
			out, err := c.New(0, to, x.Shape)
			if err != nil {
				return err
			}
			storeBool(kernel.Of[uint8](out), kernel.Of[uint8](x))
			return nil
		}
		c.View(0, x, x.Shape)
		if len(c.Out) > 0 {
			c.Out[0].(*kernel.Tensor).DType = to
		}
		return nil
	}, nil
}

// rebit is BitCast between types narrower than a byte, which in memory are sign-extended or not.
func rebit(c *kernel.Call, x *kernel.Tensor, to tensor.DType) error {
	out, err := c.New(0, to, x.Shape)
	if err != nil {
		return err
	}
	mask := uint8(1)<<to.Bits() - 1
	dst := kernel.Of[uint8](out)
	for i, v := range kernel.Of[uint8](x) {
		v &= mask
		if (to == tensor.Int4 || to == tensor.Int2) && v > mask>>1 {
			v |= ^mask
		}
		dst[i] = v
	}
	return nil
}

// casts are the operators that change the element type.
func casts() kernel.Table {
	return kernel.Table{"Cast": makeCast, "CastLike": makeCastLike, "BitCast": makeBitCast}
}
