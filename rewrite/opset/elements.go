package opset

import "github.com/fp8rewrite/fp8rewrite/tensor"

// erfIntegers: integers are gone; nothing says what their error function was.
func erfIntegers(c *call) {
	switch d, ok := c.dtype(c.node.Input(0)); {
	case !ok, d == tensor.Float32, d == tensor.Float64, d == tensor.Float16, d == tensor.BFloat16:
	default:
		c.refuse("element type %s is gone", d)
	}
}

// castFNUZ: a saturating cast of infinity to float8e4m3fnuz or float8e5m2fnuz gave NaN before 24 and gives the largest value after.
func castFNUZ(c *call) {
	to, ok := c.plainInt("to", 0)
	if !ok {
		return
	}
	c.refuseFNUZ(tensor.DType(to))
}

// castLikeFNUZ is castFNUZ for the type of the second input.
func castLikeFNUZ(c *call) {
	if c.own[c.node] {
		return
	}
	d, ok := c.dtype(c.node.Input(1))
	if !ok {
		c.refuse("the element type of %q is not known; casts to the float8 fnuz types changed", c.node.Input(1))
		return
	}
	c.refuseFNUZ(d)
}

// quantizeFNUZ is castFNUZ for the type that output_dtype or the zero point gives, uint8 without them.
func quantizeFNUZ(c *call) {
	out, ok := c.plainInt("output_dtype", 0)
	if !ok {
		return
	}
	d := tensor.DType(out)
	if zero := c.node.Input(2); d == tensor.Undefined && zero != "" {
		if d, ok = c.dtype(zero); !ok {
			c.refuse("the element type of %q is not known; casts to the float8 fnuz types changed", zero)
			return
		}
	}
	c.refuseFNUZ(d)
}

func (c *call) refuseFNUZ(d tensor.DType) {
	saturate, ok := c.plainInt("saturate", 1)
	if ok && saturate != 0 && (d == tensor.Float8E4M3FZ || d == tensor.Float8E5M2FZ) {
		c.refuse("a saturating cast of infinity to %s gave NaN and gives the largest value", d)
	}
}
