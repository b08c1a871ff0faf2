package cuda

import (
	"errors"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime"
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
	users int // programs

	placed bool // before, at is its offset in the slab
	ready  bool // filled
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

// missing is how many bytes a program needs beside what is there.
func (m *memory) missing(p *compiled) int64 {
	n := int64(0)
	seen := map[weightKey]bool{}
	for _, b := range p.prog.Weights {
		if k := keyOf(b); m.weights[k] == nil && !seen[k] {
			seen[k] = true
			n += aligned(b.Bytes)
		}
	}
	return n + p.stateBytes + max(0, p.prog.Arena-m.size)
}

// admit makes sure that a program's memory can be taken: within the session's bound, and from the card. spare gives memory back that
// another program holds, and says whether there was any.
func (m *memory) admit(c *driver.Context, p *compiled, spare func() (bool, error)) error {
	const what = "a run of the model"
	for {
		need := m.missing(p)
		free, _, err := c.Memory()
		if err != nil {
			return err
		}
		var short error
		if m.bound > 0 && m.held+need > m.bound {
			short = &runtime.MemoryError{Need: m.held + need, Have: m.bound, For: what}
		} else if need > free+m.reuse(p) {
			// What the session holds already counts on both sides.
			short = &runtime.MemoryError{Need: m.held + need, Have: m.held + free, For: what, Of: m.card}
		}
		if short == nil {
			return nil
		}
		more, err := spare()
		if err != nil {
			return err
		}
		if !more {
			return short
		}
	}
}

// reuse is how many bytes a growing arena gives back before it takes more.
func (m *memory) reuse(p *compiled) int64 {
	if p.prog.Arena > m.size {
		return m.size
	}
	return 0
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

// grow makes the arena at least n bytes; moved says that its address is another one.
func (m *memory) grow(c *driver.Context, n int64) (moved bool, err error) {
	if n <= m.size {
		return false, nil
	}
	old, size := m.arena, m.size
	m.arena, m.size = 0, 0
	if err := m.free(c, old, size); err != nil {
		return true, err
	}
	at, err := m.alloc(c, n)
	if err != nil {
		return true, err
	}
	m.arena, m.size = at, n
	return true, nil
}

// take gives p's weights their places; what is new is to be filled.
func (m *memory) take(c *driver.Context, p *compiled) error {
	fresh := &slab{}
	for _, b := range p.prog.Weights {
		k := keyOf(b)
		w := m.weights[k]
		if w == nil {
			w = &weight{key: k, at: driver.Ptr(fresh.bytes), bytes: b.Bytes, slab: fresh}
			m.weights[k] = w
			fresh.bytes += aligned(b.Bytes)
			fresh.live++
		}
		w.users++
		p.weights = append(p.weights, w)
		if w.bytes < b.Bytes {
			return fmt.Errorf("cuda: internal error: weight %s of %d bytes is there with %d", b.Form, b.Bytes, w.bytes)
		}
	}
	at, err := m.alloc(c, fresh.bytes)
	if err != nil {
		return err
	}
	fresh.at = at
	for i, b := range p.prog.Weights {
		w := p.weights[i]
		if w.slab == fresh && !w.placed {
			w.at, w.placed = at.Add(int64(w.at)), true
		}
		p.place[b] = w.at
	}
	return nil
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
	return errors.Join(errs...)
}

// aligned is n rounded up to the distance at which arrays lie.
func aligned(n int64) int64 { return (n + alignment - 1) / alignment * alignment }
