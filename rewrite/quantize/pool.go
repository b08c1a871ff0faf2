package quantize

import "sync"

// Buffers hands memory back and forth between the workers and the writers of the weights of one model, so that a model of many
// weights needs no more than one. The zero value is ready.
type Buffers struct {
	mu   sync.Mutex
	free [][]byte
}

// get is n bytes of any content, aligned for every element type.
func (p *Buffers) get(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.free {
		if cap(b) >= n {
			p.free[i] = p.free[len(p.free)-1]
			p.free = p.free[:len(p.free)-1]
			return b[:n]
		}
	}
	return bytesOf(make([]uint64, (max(n, panelBytes)+7)/8))[:n]
}

func (p *Buffers) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b)
}
