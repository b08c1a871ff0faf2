package cpu

import (
	"context"
	goruntime "runtime"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// name is the engine's name on the command line and in errors.
const name = "cpu"

type backend struct {
	table kernel.Table
	// poison overwrites memory that is given back, so that a test sees whoever still reads it; plain leaves fusion out, so that a
	// test has something to compare with.
	poison, plain bool
}

// New is the engine. It is there on every machine.
func New() runtime.Backend {
	table, _ := join(rooms()) // a test holds that the tables do not overlap
	return &backend{table: table}
}

// Name is "cpu".
func (*backend) Name() string { return name }

// Check finds nothing missing: the engine needs nothing but the processor.
func (*backend) Check() error { return nil }

// Open compiles m; see [runtime.Backend].
func (b *backend) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	if opt.Threads <= 0 {
		opt.Threads = goruntime.GOMAXPROCS(0)
	}
	s := &session{backend: b, model: m, opt: opt, pool: kernel.NewPool(opt.Threads), budget: newBudget(opt.MaxMemory),
		cells: map[string][]*constant{}}
	if err := guard(func() error { return compile(ctx, s) }); err != nil {
		return nil, err
	}
	return s, nil
}
