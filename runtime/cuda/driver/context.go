package driver

import (
	"errors"
	"fmt"
	"unsafe"
)

// Context is a GPU as seen from its thread: see [Device.Do], which alone makes one. Every error of CUDA that ends the context is
// remembered; later calls tell a [*LostError] that names it.
type Context struct {
	dev *Device
	drv Driver

	scratch unsafe.Pointer // pinned, for the arguments of a launch
	params  []unsafe.Pointer
}

// Device is the device that the context belongs to.
func (c *Context) Device() *Device { return c.dev }

// Info is [Device.Info].
func (c *Context) Info() Info { return c.dev.info }

// check makes err the error of a lost context where it is one, and remembers the first of them.
func (c *Context) check(err error) error {
	if err == nil {
		return nil
	}
	if lost := c.dev.lost.Load(); lost != nil {
		return lost
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Sticky() {
		c.dev.lost.Store(&LostError{First: e})
	}
	return err
}

// Memory is what the card has and what of it no process holds, in bytes.
func (c *Context) Memory() (free, total int64, err error) {
	free, total, err = c.drv.Memory()
	return free, total, c.check(err)
}

// Alloc takes memory of the GPU, aligned to at least 256 bytes; its content is undefined. For 0 bytes it is the null address. Where the
// memory does not suffice the error is a [*MemoryError].
func (c *Context) Alloc(bytes int64) (Ptr, error) {
	if bytes < 0 {
		return 0, fmt.Errorf("cuda: allocation of %d bytes", bytes)
	}
	if bytes == 0 {
		return 0, nil
	}
	p, err := c.drv.Alloc(bytes)
	if err != nil {
		return 0, c.shortage(c.check(err), "GPU memory", bytes)
	}
	return p, nil
}

// shortage makes err, where it says that memory did not suffice, a [*MemoryError].
func (c *Context) shortage(err error, where string, need int64) error {
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeOutOfMemory {
		return err
	}
	short := &MemoryError{Where: where, Need: need, Err: err}
	if where == "GPU memory" {
		if free, total, err := c.drv.Memory(); err == nil {
			short.Free, short.Total = free, total
		}
	}
	return short
}

// Free gives memory back; the null address is nothing. It waits for the work that uses it.
func (c *Context) Free(p Ptr) error {
	if p == 0 {
		return nil
	}
	return c.check(c.drv.Free(p))
}

// HostBuffer is pinned memory of the host, which asynchronous copies need. It is not Go's: it must be given back.
type HostBuffer struct {
	p unsafe.Pointer
	n int64
}

// Bytes is the memory; no slice of it may be used after FreeHost.
func (b *HostBuffer) Bytes() []byte { return unsafe.Slice((*byte)(b.p), b.n) }

// AllocHost takes n > 0 bytes of pinned memory, whose content is undefined.
func (c *Context) AllocHost(n int64) (*HostBuffer, error) {
	if n <= 0 {
		return nil, fmt.Errorf("cuda: pinned buffer of %d bytes", n)
	}
	p, err := c.drv.AllocHost(n)
	if err != nil {
		return nil, c.shortage(c.check(err), "pinned host memory", n)
	}
	return &HostBuffer{p: p, n: n}, nil
}

// FreeHost gives pinned memory back. Copies that use it must be done.
func (c *Context) FreeHost(b *HostBuffer) error {
	if b == nil || b.p == nil {
		return nil
	}
	p := b.p
	b.p, b.n = nil, 0
	return c.check(c.drv.FreeHost(p))
}

// span checks that n bytes from offset lie in the buffer and gives their address.
func (b *HostBuffer) span(offset, n int64) (unsafe.Pointer, error) {
	if offset < 0 || n < 0 || offset > b.n || n > b.n-offset {
		return nil, fmt.Errorf("cuda: bytes %d to %d of a pinned buffer of %d", offset, offset+n, b.n)
	}
	return unsafe.Add(b.p, offset), nil
}

// CopyIn puts n bytes at offset of b to dst, in the order of s, and does not wait: until s is done b must stay as it is.
func (c *Context) CopyIn(dst Ptr, b *HostBuffer, offset, n int64, s Stream) error {
	p, err := b.span(offset, n)
	if err != nil || n == 0 {
		return err
	}
	return c.check(c.drv.ToDevice(dst, p, n, s))
}

// CopyOut puts n bytes from src to offset of b, in the order of s, and does not wait: they are there when s is done.
func (c *Context) CopyOut(b *HostBuffer, offset int64, src Ptr, n int64, s Stream) error {
	p, err := b.span(offset, n)
	if err != nil || n == 0 {
		return err
	}
	return c.check(c.drv.ToHost(p, src, n, s))
}

// Copy copies n bytes on the GPU, in the order of s, without waiting.
func (c *Context) Copy(dst, src Ptr, n int64, s Stream) error {
	if n == 0 {
		return nil
	}
	return c.check(c.drv.OnDevice(dst, src, n, s))
}

// Write puts src to dst, in the order of s, and waits for s. It is for little data: from memory that is not pinned a copy runs at a
// fraction of the speed, see [Context.CopyIn].
func (c *Context) Write(dst Ptr, src []byte, s Stream) error {
	if len(src) == 0 {
		return nil
	}
	if err := c.check(c.drv.ToDevice(dst, unsafe.Pointer(&src[0]), int64(len(src)), s)); err != nil {
		return err
	}
	return c.Sync(s)
}

// Read fills dst with what lies at src once s has come so far, and waits for s.
func (c *Context) Read(dst []byte, src Ptr, s Stream) error {
	if len(dst) == 0 {
		return nil
	}
	if err := c.check(c.drv.ToHost(unsafe.Pointer(&dst[0]), src, int64(len(dst)), s)); err != nil {
		return err
	}
	return c.Sync(s)
}

// Set8 puts value into n bytes at dst, in the order of s.
func (c *Context) Set8(dst Ptr, value uint8, n int64, s Stream) error {
	if n == 0 {
		return nil
	}
	return c.check(c.drv.Set8(dst, value, n, s))
}

// Set32 puts value into n words of 4 bytes at dst, which is aligned to 4, in the order of s.
func (c *Context) Set32(dst Ptr, value uint32, n int64, s Stream) error {
	if n == 0 {
		return nil
	}
	return c.check(c.drv.Set32(dst, value, n, s))
}
