package kernel

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Arena hands out the memory of values and takes it back, so that a run reuses what an earlier operator or run has left. Its bytes are
// not zeroed.
type Arena struct {
	mu    sync.Mutex
	free  map[int][]*buffer // by capacity
	limit int64
	used  int64 // alive
	held  int64 // alive and free
	peak  int64 // of used

	poison bool // see Poison
}

// buffer is a piece of memory with the number of tensors that look at it.
type buffer struct {
	arena *Arena
	mem   []byte
	refs  atomic.Int32
}

// NewArena makes an arena that holds at most limit bytes at a time; 0 means no limit.
func NewArena(limit int64) *Arena { return &Arena{free: map[int][]*buffer{}, limit: limit} }

// Poison makes the arena overwrite memory that is given back, with bytes that are NaN in every floating-point format, so that a test
// sees whoever still reads it.
func (a *Arena) Poison() { a.poison = true }

// LimitError says that an arena is full.
type LimitError struct{ Need, Limit int64 }

// Error gives both numbers.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%d bytes of values are needed at one time, and %d are allowed", e.Need, e.Limit)
}

// classOf rounds a size up so that buffers of similar tensors can stand in for each other: eight steps for each power of two.
func classOf(n int) int {
	if n <= 256 {
		return 256
	}
	step := 1 << (bits.Len(uint(n-1)) - 4)
	return (n + step - 1) &^ (step - 1)
}

// New makes a tensor whose content is undefined. The error is a SizeError or a LimitError.
func (a *Arena) New(d tensor.DType, shape []int) (*Tensor, error) {
	size := ElemSize(d)
	if d == tensor.String {
		n, err := checkShape(shape, 16)
		if err != nil {
			return nil, err
		}
		// Strings are the garbage collector's and are not counted, but one tensor of them may not be larger than everything together.
		if a.limit > 0 && int64(n) > a.limit {
			return nil, &LimitError{int64(n), a.limit}
		}
		return &Tensor{DType: d, Shape: shape, Strings: make([]string, Count(shape))}, nil
	}
	if size == 0 {
		return nil, fmt.Errorf("no elements of type %s", d)
	}
	n, err := checkShape(shape, size)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return &Tensor{DType: d, Shape: shape}, nil
	}
	b, err := a.get(classOf(n))
	if err != nil {
		return nil, err
	}
	return &Tensor{DType: d, Shape: shape, Bytes: b.mem[:n:n], buf: b}, nil
}

// get takes a buffer of exactly this capacity, with one reference.
func (a *Arena) get(class int) (*buffer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limit > 0 && a.used+int64(class) > a.limit {
		return nil, &LimitError{a.used + int64(class), a.limit}
	}
	var b *buffer
	if l := a.free[class]; len(l) > 0 {
		b = l[len(l)-1]
		a.free[class] = l[:len(l)-1]
	} else {
		if a.limit > 0 && a.held+int64(class) > a.limit {
			a.dropFree()
		}
		b = &buffer{arena: a, mem: make([]byte, class)}
		a.held += int64(class)
	}
	a.used += int64(class)
	a.peak = max(a.peak, a.used)
	b.refs.Store(1)
	return b, nil
}

// dropFree leaves all free buffers to the garbage collector.
func (a *Arena) dropFree() {
	for class, l := range a.free {
		a.held -= int64(class * len(l))
	}
	clear(a.free)
}

// Peak is the largest number of bytes that were alive at one time.
func (a *Arena) Peak() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.peak
}

// Retain says that one more holder looks at the value.
func Retain(v Value) {
	switch v := v.(type) {
	case *Tensor:
		if v != nil && v.buf != nil {
			v.buf.refs.Add(1)
		}
	case *Sequence:
		for _, e := range v.Items {
			Retain(e)
		}
	case *Optional:
		Retain(v.Item)
	}
}

// Release says that one holder is done with the value; memory that nobody holds goes back to its arena.
func Release(v Value) {
	switch v := v.(type) {
	case *Tensor:
		if v == nil || v.buf == nil {
			return
		}
		if b := v.buf; b.refs.Add(-1) == 0 {
			a := b.arena
			a.mu.Lock()
			if a.poison {
				for i := range b.mem {
					b.mem[i] = 0xff
				}
			}
			a.used -= int64(len(b.mem))
			a.free[len(b.mem)] = append(a.free[len(b.mem)], b)
			a.mu.Unlock()
		}
	case *Sequence:
		for _, e := range v.Items {
			Release(e)
		}
	case *Optional:
		Release(v.Item)
	}
}

// Sole reports whether the caller's reference is the only one to memory of an arena, so that it may be overwritten.
func (t *Tensor) Sole() bool { return t.buf != nil && t.buf.refs.Load() == 1 }

// Reshape is the tensor's memory under another shape of as many elements; it counts as one more holder.
func (t *Tensor) Reshape(shape []int) *Tensor {
	if Count(shape) != t.Len() {
		panic(fmt.Sprintf("kernel: %s seen as %s", t, ShapeString(shape)))
	}
	Retain(t)
	v := *t
	v.Shape = shape
	return &v
}

// Detach is the tensor's bytes for good, out of the arena's hands: the memory itself where the caller's reference is the only one, which
// ends with this call, else a copy. The tensor must not be used afterwards where it was the only one.
func (t *Tensor) Detach() []byte {
	if !t.Sole() {
		return append([]byte(nil), t.Bytes...)
	}
	b := t.buf
	t.buf = nil
	b.arena.mu.Lock()
	b.arena.used -= int64(len(b.mem))
	b.arena.held -= int64(len(b.mem))
	b.arena.mu.Unlock()
	return t.Bytes
}

// Footprint is the number of bytes that an arena takes for a tensor of so many.
func Footprint(bytes int64) int64 { return int64(classOf(int(bytes))) }
