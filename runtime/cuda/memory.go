package cuda

import (
	"errors"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/program"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// memory is what a session holds of the GPU's: the weights of all its programs, each once, one arena that they use in turn, and for each
// program what it keeps between runs.
type memory struct {
	card  string
	bound int64 // Options.MaxMemory, 0 for none

	weights map[weightKey]*weight
	arena   driver.Ptr
	size    int64 // of the arena
	held    int64 // bytes in all
}

// weightKey tells weights apart: what is made from one tensor in one form is there once. A weight without a source is its buffer's own.
type weightKey struct {
	source *tensor.Tensor
	form   string
	buffer *program.Buffer
}

// weight is a constant on the GPU.
type weight struct {
	key   weightKey
	at    driver.Ptr
	bytes int64
	slab  *slab
	users int  // programs
	ready bool // filled
}

// slab is the memory of the weights that a program brought, taken at once.
type slab struct {
	at    driver.Ptr
	bytes int64
	live  int // weights in it that are used
}

func keyOf(b *program.Buffer) weightKey {
	if b.Source == nil {
		return weightKey{buffer: b}
	}
	return weightKey{source: b.Source, form: b.Form}
}

// missing is how many bytes a program needs beside what is there, an arena that grows giving back what it had.
func (m *memory) missing(p *compiled) int64 {
	n := int64(0)
	seen := map[weightKey]bool{}
	for _, b := range p.prog.Weights {
		if k := keyOf(b); m.weights[k] == nil && !seen[k] {
			seen[k] = true
			n += aligned(b.Bytes)
		}
	}
	if p.state == 0 {
		n += aligned(p.stateBytes)
	}
	return n + max(0, aligned(p.prog.Arena)-aligned(m.size))
}

// alloc takes memory and counts it.
func (m *memory) alloc(c *driver.Context, n int64) (driver.Ptr, error) {
	at, err := c.Alloc(n)
	if err == nil {
		m.held += aligned(n)
	}
	return at, err
}

func (m *memory) free(c *driver.Context, at driver.Ptr, n int64) error {
	if at == 0 {
		return nil
	}
	m.held -= aligned(n)
	return c.Free(at)
}

// grow makes the arena at least n bytes; moved says that its address is another one, or after an error that there is none.
func (m *memory) grow(c *driver.Context, n int64) (moved bool, err error) {
	if n <= m.size {
		return false, nil
	}
	if err := m.release(c); err != nil {
		return true, err
	}
	at, err := m.alloc(c, n)
	if err != nil {
		return true, err
	}
	m.arena, m.size = at, n
	return true, nil
}

// hold counts p among the users of those of its weights that are there already, so that they stay while others make room.
func (m *memory) hold(p *compiled) error {
	for _, b := range p.prog.Weights {
		w := m.weights[keyOf(b)]
		if _, held := p.place[b]; held || w == nil {
			continue
		}
		if w.bytes < b.Bytes {
			return fmt.Errorf("cuda: internal error: weight %s of %d bytes is there with %d", b.Form, b.Bytes, w.bytes)
		}
		w.users++
		p.weights = append(p.weights, w)
		p.place[b] = w.at
	}
	return nil
}

// release gives the arena back.
func (m *memory) release(c *driver.Context) error {
	old, size := m.arena, m.size
	m.arena, m.size = 0, 0
	return m.free(c, old, size)
}

// take gives p's other weights their places; they are to be filled.
func (m *memory) take(c *driver.Context, p *compiled) error {
	fresh := &slab{}
	var order []*weight
	made := map[weightKey]*weight{}
	for _, b := range p.prog.Weights {
		k := keyOf(b)
		if m.weights[k] != nil || made[k] != nil {
			continue
		}
		w := &weight{key: k, at: driver.Ptr(fresh.bytes), bytes: b.Bytes, slab: fresh}
		made[k], order = w, append(order, w)
		fresh.bytes += aligned(b.Bytes)
	}
	at, err := m.alloc(c, fresh.bytes)
	if err != nil {
		return err
	}
	fresh.at, fresh.live = at, len(order)
	for _, w := range order {
		w.at = at.Add(int64(w.at))
		m.weights[w.key] = w
	}
	return m.hold(p)
}

// drop lets go of p's weights, and gives back the memory of those that nobody else uses.
func (m *memory) drop(c *driver.Context, p *compiled) error {
	var errs []error
	for _, w := range p.weights {
		if w.users--; w.users > 0 {
			continue
		}
		delete(m.weights, w.key)
		if w.slab.live--; w.slab.live == 0 {
			errs = append(errs, m.free(c, w.slab.at, w.slab.bytes))
		}
	}
	p.weights = nil
	for _, b := range p.prog.Weights {
		delete(p.place, b)
	}
	return errors.Join(errs...)
}

// aligned is n rounded up to the distance at which arrays lie.
func aligned(n int64) int64 { return (n + alignment - 1) / alignment * alignment }
