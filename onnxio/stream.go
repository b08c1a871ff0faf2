package onnxio

import (
	"context"
	"fmt"
	"hash"
	"io"
	goruntime "runtime"
	"sync"
	"sync/atomic"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// A rope is written by three kinds of goroutine: workers compute parts ahead of their turn, one goroutine hashes, and the caller's
// writes in order. Views of mapped files pass without a copy; everything else goes through buffers, which bound the memory.
const (
	chunkSize   = 1 << 20
	bufferCount = 16 // buffers of chunkSize in all
	maxWorkers  = 4
)

// chunk is a run of bytes on its way out.
type chunk struct {
	b    []byte
	buf  []byte // the buffer that b lies in, nil for a view
	home chan []byte
	refs *atomic.Int32
}

func (c chunk) release() {
	if c.buf != nil && c.refs.Add(-1) == 0 {
		c.home <- c.buf
	}
}

// job is a run of parts that one worker turns into chunks.
type job struct {
	parts []tensor.Data
	out   chan chunk
	err   error // to be read after out is closed
}

// stream writes the parts to w in order and adds them to sum; note hears of the bytes written so far. It stops between two chunks
// when ctx is cancelled.
func stream(ctx context.Context, w io.Writer, parts []tensor.Data, sum hash.Hash, note func(written int64) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(nil)

	workers := min(goruntime.GOMAXPROCS(0), maxWorkers)
	ordered := make(chan *job, 2*workers)
	work := make(chan *job)
	all.Go(func() {
		defer close(ordered)
		defer close(work)
		for len(parts) > 0 {
			n := jobLength(parts)
			j := &job{parts: parts[:n], out: make(chan chunk, 2)}
			parts = parts[n:]
			select {
			case ordered <- j:
			case <-ctx.Done():
				return
			}
			select {
			case work <- j:
			case <-ctx.Done():
				j.err = context.Cause(ctx)
				close(j.out) // somebody may wait for it already
				return
			}
		}
	})
	for range workers {
		all.Go(func() {
			// Buffers belong to a worker: its earlier jobs, whose chunks may wait for their turn, always come before its
			// present one, so the job whose turn it is can never starve for want of a buffer.
			home := make(chan []byte, bufferCount/workers)
			for range cap(home) {
				home <- nil // allocated at first use
			}
			for j := range work {
				c := &chunker{ctx: ctx, out: j.out, home: home}
				j.err = mapfile.Guard(func() error { return c.run(j.parts) })
				close(j.out)
			}
		})
	}
	hashing := make(chan chunk, 2)
	var hashErr error
	hashed := make(chan struct{})
	all.Go(func() {
		defer close(hashed)
		for c := range hashing {
			if hashErr == nil {
				hashErr = mapfile.Guard(func() error { _, err := sum.Write(c.b); return err })
			}
			c.release()
		}
	})

	var written int64
	err := func() error {
		defer close(hashing)
		for j := range ordered {
			for c := range j.out {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				hashing <- c
				n, err := w.Write(c.b)
				c.release()
				if err != nil {
					return err
				}
				written += int64(n)
				if err := note(written); err != nil {
					return err
				}
			}
			if j.err != nil {
				return j.err
			}
		}
		return context.Cause(ctx)
	}()
	<-hashed
	if err == nil {
		err = hashErr
	}
	return err
}

// jobLength is how many parts from the front make a job: up to a chunk's bytes, or one large part alone.
func jobLength(parts []tensor.Data) int {
	total := int64(0)
	for i, p := range parts {
		if total += p.Size(); total > chunkSize && i > 0 {
			return i
		}
	}
	return len(parts)
}

// chunker is the io.Writer that parts write themselves to.
type chunker struct {
	ctx  context.Context
	out  chan<- chunk
	home chan []byte
	buf  []byte
}

func (c *chunker) run(parts []tensor.Data) error {
	for _, p := range parts {
		var err error
		n := p.Size()
		if b, ok := p.(tensor.Bytes); ok {
			_, err = c.Write(b)
		} else {
			counted := &counter{w: c}
			_, err = p.WriteTo(counted)
			if err == nil && counted.n != n {
				err = fmt.Errorf("tensor data wrote %d bytes, want %d", counted.n, n)
			}
		}
		if err != nil {
			return err
		}
	}
	return c.flush()
}

type counter struct {
	w *chunker
	n int64
}

// Write copies: what computes a tensor may use its memory again.
func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.w.copy(b)
}

// viewSize is the size from which a view is passed on as it is instead of being gathered with its neighbours.
const viewSize = 64 << 10

// Write takes bytes that stay as they are: large ones pass without a copy.
func (c *chunker) Write(b []byte) (int, error) {
	if len(b) < viewSize {
		return c.copy(b)
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	for at := 0; at < len(b); at += chunkSize {
		if err := c.send(chunk{b: b[at:min(at+chunkSize, len(b))], refs: new(atomic.Int32)}); err != nil {
			return at, err
		}
	}
	return len(b), nil
}

func (c *chunker) copy(b []byte) (int, error) {
	total := len(b)
	for len(b) > 0 {
		if c.buf == nil {
			select {
			case c.buf = <-c.home:
			case <-c.ctx.Done():
				return total - len(b), context.Cause(c.ctx)
			}
			if c.buf == nil {
				c.buf = make([]byte, 0, chunkSize)
			}
			c.buf = c.buf[:0]
		}
		n := min(len(b), cap(c.buf)-len(c.buf))
		c.buf = append(c.buf, b[:n]...)
		b = b[n:]
		if len(c.buf) == cap(c.buf) {
			if err := c.flush(); err != nil {
				return total - len(b), err
			}
		}
	}
	return total, nil
}

func (c *chunker) flush() error {
	if len(c.buf) == 0 {
		return nil
	}
	buf := c.buf
	c.buf = nil
	ch := chunk{b: buf, buf: buf, home: c.home, refs: new(atomic.Int32)}
	ch.refs.Store(2) // the hash and the file
	return c.send(ch)
}

func (c *chunker) send(ch chunk) error {
	select {
	case c.out <- ch:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}
