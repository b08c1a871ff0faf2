package cuda

import (
	"errors"
	goruntime "runtime"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
)

// gpu is what all sessions of a backend share: the thread that talks to the GPU, and what takes long to make, so that a session is opened
// quickly. A session uses it inside Device.Do, and has waited for its work when that returns: so one stream, one workspace and one set of
// pinned buffers are enough, and sessions take turns.
type gpu struct {
	dev      *driver.Device
	stream   driver.Stream
	kernels  *kernels.Set
	products *lt.Handle
	pinned   pinned
	sessions []*session // that have something on the GPU, the one used last last; known to the GPU's thread alone
}

// shared is the GPU, made ready when the first session is opened. Nobody gives it back: it goes with the process.
func (b *Backend) shared() (*gpu, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gpu != nil {
		return b.gpu, b.gpu.dev.Lost()
	}
	g := &gpu{dev: b.dev}
	g.pinned.threads = goruntime.GOMAXPROCS(0)
	err := g.dev.Do(func(c *driver.Context) (err error) {
		if g.kernels, err = kernels.New(c); err != nil {
			return err
		}
		if g.stream, err = c.NewStream(); err != nil {
			return err
		}
		if g.products, err = b.lt.New(c, lt.DefaultWorkspace); err != nil {
			return errors.Join(err, c.DestroyStream(g.stream))
		}
		return nil
	})
	if err != nil {
		return nil, explain(err, g.dev.Info().Name, "a session")
	}
	b.gpu = g
	return g, nil
}
