package quantize

import (
	"slices"
	"sync"
)

// Sizes that bound the memory of the weights of one model.
const (
	// chunkBytes is how much memory is taken from the system at a time; every block fits.
	chunkBytes = 12 << 20
	// budgetBytes is how much may be handed out in all, not counting the block that a write needs to go on.
	budgetBytes = 4 * chunkBytes
	// aheadBytes is how much of it a write may take while an earlier one is under way: the weights of a file are written in order,
	// and what is computed early waits in memory.
	aheadBytes = chunkBytes
)

// Buffers is the memory that the writes of the weights of one model share. The zero value is ready.
//
// Whatever the shapes, the number of weights and the number of processors, 48 MiB are handed out, and at most one block of 12 MiB
// more to each write but one that is under way.
type Buffers struct {
	mu      sync.Mutex
	chunks  []*chunk
	used    int             // bytes handed out
	writes  []*write        // under way, the earliest first
	changed []chan struct{} // closed when memory has become free, or a turn has come
}

type chunk struct {
	mem    []byte
	blocks []*block // handed out, in the order of their addresses
}

// block is bytes [lo, hi) of a chunk.
type block struct {
	home   *chunk
	lo, hi int
}

func (b *block) bytes() []byte { return b.home.mem[b.lo:b.hi:b.hi] }

// write is one weight on its way out: blocks 0, 1, … are taken, and leave, in this order.
type write struct {
	pool   *Buffers
	blocks map[int]*block
	held   int // bytes in blocks
	next   int // the block whose turn it is to leave
}

func (p *Buffers) begin() *write {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &write{pool: p, blocks: map[int]*block{}}
	p.writes = append(p.writes, w)
	return w
}

// end gives back what is left of w.
func (w *write) end() {
	p := w.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range w.blocks {
		w.shrink(b, b.lo)
	}
	p.writes = slices.DeleteFunc(p.writes, func(v *write) bool { return v == w })
	p.wake()
}

// align keeps blocks apart by cache lines, which suits every element type too.
const align = 64

func aligned(n int) int { return (n + align - 1) / align * align }

// take gets block i of n bytes, of any content, aligned for every element type. It waits until that many are free or until
// nothing of w comes before the block, so w always goes on. It reports false when stop is closed first.
func (w *write) take(i, n int, stop <-chan struct{}) bool {
	p := w.pool
	n = aligned(n)
	for {
		p.mu.Lock()
		must := w.next == i
		fits := p.used+n <= budgetBytes && (p.writes[0] == w || w.held+n <= aheadBytes)
		if must || fits {
			if b := p.place(n, must); b != nil {
				w.blocks[i] = b
				w.held += n
				p.used += n
				p.mu.Unlock()
				return true
			}
		}
		changed := make(chan struct{})
		p.changed = append(p.changed, changed)
		p.mu.Unlock()
		select {
		case <-changed:
		case <-stop:
			return false
		}
	}
}

// place finds room for n bytes; it goes beyond the budget where it must.
func (p *Buffers) place(n int, must bool) *block {
	for _, c := range p.chunks {
		at := 0
		for i := 0; i <= len(c.blocks); i++ {
			end := len(c.mem)
			if i < len(c.blocks) {
				end = c.blocks[i].lo
			}
			if end-at >= n {
				b := &block{c, at, at + n}
				c.blocks = slices.Insert(c.blocks, i, b)
				return b
			}
			if i < len(c.blocks) {
				at = c.blocks[i].hi
			}
		}
	}
	if !must && (len(p.chunks)+1)*chunkBytes > budgetBytes {
		return nil
	}
	c := &chunk{mem: bytesOf(make([]uint64, max(n, chunkBytes)/8))}
	p.chunks = append(p.chunks, c)
	b := &block{c, 0, n}
	c.blocks = []*block{b}
	return b
}

// block is the memory taken for block i.
func (w *write) block(i int) []byte {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	return w.blocks[i].bytes()
}

// keep gives back all but the first n bytes of block i.
func (w *write) keep(i, n int) {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	b := w.blocks[i]
	w.shrink(b, min(b.lo+aligned(n), b.hi))
	w.pool.wake()
}

// leave gives back block i, whose turn it was.
func (w *write) leave(i int) {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	b := w.blocks[i]
	w.shrink(b, b.lo)
	delete(w.blocks, i)
	w.next = i + 1
	w.pool.wake()
}

func (w *write) shrink(b *block, hi int) {
	w.held -= b.hi - hi
	w.pool.used -= b.hi - hi
	b.hi = hi
	if b.hi == b.lo {
		b.home.blocks = slices.DeleteFunc(b.home.blocks, func(v *block) bool { return v == b })
	}
}

func (p *Buffers) wake() {
	for _, c := range p.changed {
		close(c)
	}
	p.changed = p.changed[:0]
}
