package driver

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"
	"sync/atomic"
)

// Devices lists the GPUs of the machine. A context is made on each for a moment, which is what tells the free memory; where that fails
// (a card in exclusive use, say), the card's Err says why and the rest of it stands. The error is that of the driver as a whole, such as
// one with [CodeNoDevice].
func Devices(d Driver) ([]Info, error) {
	if err := d.Init(); err != nil {
		return nil, err
	}
	n, err := d.Count()
	if err != nil {
		return nil, err
	}
	infos := make([]Info, n)
	for i := range infos {
		if infos[i], err = d.Describe(i); err != nil {
			return nil, err
		}
		dev, err := Open(d, i)
		if err == nil {
			err = dev.Do(func(c *Context) (err error) {
				infos[i].Free, _, err = c.Memory()
				return err
			})
			err = errors.Join(err, dev.Close())
		}
		infos[i].Err = err
	}
	return infos, nil
}

// Device is one GPU and the thread of this process that talks to it.
type Device struct {
	driver Driver
	info   Info
	lost   atomic.Pointer[LostError]

	mu      sync.Mutex // one call at a time
	closed  bool
	calls   chan func(*Context) error
	results chan result
}

// result is how a call ended: with err, a panic, or not at all because it ended its goroutine.
type result struct {
	err      error
	panicked bool
	value    any
	exited   bool
}

// Open makes the primary context of a GPU, on a thread of its own. Libraries of CUDA that are used beside this package share that
// context.
func Open(d Driver, ordinal int) (*Device, error) {
	if err := d.Init(); err != nil {
		return nil, err
	}
	n, err := d.Count()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("cuda: device %d: the machine has %d", ordinal, n)
	}
	info, err := d.Describe(ordinal)
	if err != nil {
		return nil, err
	}
	dev := &Device{driver: d, info: info, calls: make(chan func(*Context) error), results: make(chan result)}
	opened := make(chan error)
	go func() {
		goruntime.LockOSThread()
		err := d.Retain(ordinal)
		opened <- err
		if err == nil {
			dev.serve(&Context{dev: dev, drv: d})
		}
	}()
	if err := <-opened; err != nil {
		return nil, err
	}
	return dev, nil
}

// Info describes the GPU; Free is unset.
func (d *Device) Info() Info { return d.info }

// Lost is the error that ended the context, nil while it lives.
func (d *Device) Lost() error {
	if e := d.lost.Load(); e != nil {
		return e
	}
	return nil
}

// Do runs f on the device's thread and gives its error. Calls from several goroutines wait for each other; f must not call Do of the same
// device. The context must not be kept beyond f. A panic in f is one of Do's caller. On a device whose context is lost f is not run: the
// error is a [*LostError].
//
// The way to the thread and back costs some 20 µs, four launches: one Do for a whole step, not one per launch.
func (d *Device) Do(f func(*Context) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return ErrClosed
	}
	if err := d.Lost(); err != nil {
		return err
	}
	d.calls <- f
	r := <-d.results
	if r.panicked {
		panic(r.value)
	}
	if r.exited {
		// A test that gives up in f gives up here too.
		goruntime.Goexit()
	}
	return r.err
}

// Close gives the context back and ends the thread. Memory, streams and modules that are left go with the process's last use of the
// context. It may be called more than once.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	d.calls <- func(c *Context) error {
		err := c.freeScratch()
		return errors.Join(err, c.check(c.drv.Release(d.info.Ordinal)))
	}
	r := <-d.results
	close(d.calls)
	if d.Lost() != nil {
		return nil // there is nothing left to give back
	}
	return r.err
}

// serve runs calls until there are no more. The thread is never unlocked: it ends with the goroutine, so that no other goroutine finds a
// context on its thread.
func (d *Device) serve(c *Context) {
	for f := range d.calls {
		finished := false
		func() {
			defer func() {
				if finished {
					return
				}
				if v := recover(); v != nil {
					d.results <- result{panicked: true, value: v}
					return
				}
				// f ended this goroutine, and with it the thread: another one takes over.
				go func() {
					goruntime.LockOSThread()
					err := d.driver.Retain(d.info.Ordinal)
					if err == nil {
						err = d.driver.Release(d.info.Ordinal) // the first Retain's count stays
					}
					_ = c.check(err)
					d.results <- result{exited: true}
					d.serve(c)
				}()
			}()
			err := f(c)
			finished = true
			d.results <- result{err: err}
		}()
	}
}
