package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/measure"
)

// result is a line of JSON: one measurement, or why there is none. torch_bench.py prints the same.
type result struct {
	Name  string  `json:"name"`
	Ms    float64 `json:"ms,omitempty"`
	Runs  int     `json:"runs,omitempty"`
	Error string  `json:"error,omitempty"`
}

// size is a product y[M,N] = x[M,K]·w[N,K]ᵀ.
type size struct{ m, n, k int64 }

func (s size) String() string { return fmt.Sprintf("%dx%dx%d", s.m, s.n, s.k) }

// sizes are the products that are compared with torch.
var sizes = []size{{8192, 8192, 8192}, {4096, 4096, 4096}, {8192, 4096, 4096}, {2048, 4096, 4096}}

// runKernels times casts and products by themselves.
func runKernels(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("gpu kernels", flag.ContinueOnError)
	runs := fs.Int("runs", 30, "replays that a median is of")
	rest := fs.Duration("rest", 300*time.Millisecond, "rest of the card before each measurement, as torch's has it")
	if err := fs.Parse(args); err != nil {
		return err
	}
	found := driver.Find()
	if err := found.Err(); err != nil {
		return err
	}
	api, err := found.Driver()
	if err != nil {
		return err
	}
	library, err := lt.Open(found.CUBLASLt)
	if err != nil {
		return err
	}
	dev, err := driver.Open(api, 0)
	if err != nil {
		return err
	}
	out := json.NewEncoder(stdout)
	err = dev.Do(func(c *driver.Context) error {
		m, err := measure.New(c, library, *runs)
		if err != nil {
			return err
		}
		m.Rest = *rest
		tell := func(name string, f func() (time.Duration, error)) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			t, err := f()
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return out.Encode(result{Name: name, Ms: t.Seconds() * 1e3, Runs: *runs})
		}
		err = tell(castName, func() (time.Duration, error) { return m.CastAmax(8192 * 8192) })
		if err == nil {
			err = tell("copy 8192x8192", func() (time.Duration, error) { return m.Copy(2 * 8192 * 8192) })
		}
		for _, s := range sizes {
			for _, x := range []struct {
				name string
				f    func(m, n, k int64) (time.Duration, error)
			}{{"float8linear ", m.Linear}, {"float8 matmul ", m.Float8}, {"bf16 linear ", m.BFloat16}} {
				if err == nil {
					err = tell(x.name+s.String(), func() (time.Duration, error) { return x.f(s.m, s.n, s.k) })
				}
			}
		}
		return errors.Join(err, m.Close())
	})
	return errors.Join(err, dev.Close())
}

const castName = "cast+amax 8192x8192"
