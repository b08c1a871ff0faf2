package cuda

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/cu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/program"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Options choose a GPU and how it computes.
type Options struct {
	// Device is the number of the GPU, as [Look] counts them.
	Device int

	// Compute is the type in which values that the model has in float32 are held and computed: "float32", which "" means too, or
	// "bfloat16". Layers in float8 are the same in both but for the type of what they read and give.
	Compute string

	// Exact has float8 products summed in float32. Otherwise they are summed in the tensor cores' own accumulators, which is faster and,
	// before compute capability 10, keeps 14 bits; there Exact multiplies the codes in bfloat16, at its speed.
	Exact bool

	// Host is the engine that runs what the GPU cannot, and computes beforehand what is constant.
	Host runtime.Backend
}

// Backend is one GPU of the machine as an engine.
type Backend struct {
	opt  Options
	once sync.Once
	err  error
	api  driver.Driver
	lt   *lt.Library

	dev *driver.Device // its context stays as long as the program runs: to make it takes a fifth of a second, and sessions come and go

	mu  sync.Mutex
	gpu *gpu

	// lower makes programs; tests have others.
	lower func(context.Context, *session, map[string]tensor.Shape) (*specialize.Static, *program.Program, error)
}

var _ runtime.Backend = (*Backend)(nil)

// New is the engine on the GPU that opt chooses. Nothing is opened before it is needed.
func New(opt Options) runtime.Backend { return &Backend{opt: opt, lower: lower} }

// Name is "cuda", or "cuda:N" for a GPU other than the first.
func (b *Backend) Name() string {
	if b.opt.Device == 0 {
		return "cuda"
	}
	return fmt.Sprintf("cuda:%d", b.opt.Device)
}

// Check opens the libraries and the GPU, once. The error is a [runtime.UnavailableError] that says what is missing, and where was looked
// for it.
func (b *Backend) Check() error {
	b.once.Do(func() {
		if _, err := computeType(b.opt.Compute); err != nil {
			b.err = err
			return
		}
		if b.opt.Host == nil {
			b.err = errors.New("cuda: no engine was given for what the GPU cannot run")
			return
		}
		found := driver.Find()
		if err := b.start(found); err != nil {
			b.err = &runtime.UnavailableError{Backend: b.Name(), Looked: found.Looked(), Err: err}
		}
	})
	return b.err
}

// computeType is the kernels' name of Options.Compute.
func computeType(name string) (kernels.Type, error) {
	switch name {
	case "", "float32":
		return kernels.F32, nil
	case "bfloat16":
		return kernels.BF16, nil
	}
	return kernels.None, fmt.Errorf("cuda: compute type %q, want float32 or bfloat16", name)
}

// start opens the GPU with the libraries that were found.
func (b *Backend) start(found driver.Found) (err error) {
	if err := found.Err(); err != nil {
		return err
	}
	if b.api, err = cu.Choose(found); err != nil {
		return err
	}
	if b.lt, err = lt.Open(found.CUBLASLt); err != nil {
		return err
	}
	dev, err := driver.Open(b.api, b.opt.Device)
	if err != nil {
		return err
	}
	if err := capable(dev.Info()); err != nil {
		return errors.Join(err, dev.Close())
	}
	b.dev = dev
	return nil
}

// Open makes a session for m; see [runtime.Backend].
func (b *Backend) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	s, err := b.open(ctx, m, opt)
	if err != nil {
		return nil, err
	}
	return s, nil
}
