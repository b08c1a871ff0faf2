package cuda

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/measure"
)

// Rates are what a card reaches when it is asked for one thing alone.
type Rates struct {
	Float8, BFloat16 float64 // floating-point operations per second, in a product of 8192³
	Memory           float64 // bytes per second, read and written, in a copy
}

// Square is a linear layer that was measured: Tokens rows, as many features in as out.
type Square struct {
	Tokens, Features int64
	Float8           time.Duration // with the cast of its input, and the amax
	BFloat16         time.Duration
}

// Measure finds out what the card reaches, and how float8 and bfloat16 compare in square layers of so many features and tokens. What the
// card has no memory for is left out, its rate 0, and skipped says what and why. With an error comes what was measured before it.
func (b *Backend) Measure(ctx context.Context, tokens int64, features []int64) (rates Rates, squares []Square, skipped []string, err error) {
	if err := b.Check(); err != nil {
		return rates, nil, nil, err
	}
	// fits says whether err is none. Memory that did not suffice is no error but a line.
	fits := func(what string, err *error) bool {
		if driver.IsOutOfMemory(*err) {
			skipped, *err = append(skipped, fmt.Sprintf("%s was not measured: %v", what, *err)), nil
			return false
		}
		return *err == nil
	}
	err = b.dev.Do(func(c *driver.Context) (err error) {
		m, err := measure.New(c, b.lt, 10)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.Close()) }()
		const n = 8192
		bytes := int64(1 << 30)
		if free, _, err := c.Memory(); err == nil && free < 4*bytes {
			bytes = max(free/8, 1<<20) &^ 0xffff
		}
		for _, x := range []struct {
			what string
			to   *float64
			work float64
			run  func() (time.Duration, error)
		}{
			{"a copy", &rates.Memory, 2 * float64(bytes), func() (time.Duration, error) { return m.Copy(bytes) }},
			{"the bfloat16 product of 8192³", &rates.BFloat16, 2 * n * n * n, func() (time.Duration, error) { return m.BFloat16(n, n, n) }},
			{"the float8 product of 8192³", &rates.Float8, 2 * n * n * n, func() (time.Duration, error) { return m.Float8(n, n, n) }},
		} {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			t, err := x.run()
			if fits(x.what, &err) {
				*x.to = x.work / t.Seconds()
			} else if err != nil {
				return err
			}
		}
		for _, f := range features {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			s, err := square(m, tokens, f)
			if fits(fmt.Sprintf("a square layer of %d features and %d tokens", f, tokens), &err) {
				squares = append(squares, s)
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return rates, squares, skipped, err
}

func square(m *measure.Meter, tokens, features int64) (s Square, err error) {
	s = Square{Tokens: tokens, Features: features}
	if s.Float8, err = m.Linear(tokens, features, features); err != nil {
		return s, err
	}
	s.BFloat16, err = m.BFloat16(tokens, features, features)
	return s, err
}
