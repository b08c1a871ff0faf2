package quantize

import "sync"

// pool hands buffers back and forth between the workers and the writer of one weight.
type pool struct {
	mu   sync.Mutex
	free [][]byte
}

func newPool() *pool { return &pool{} }

func (p *pool) get(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.free {
		if cap(b) >= n {
			p.free[i] = p.free[len(p.free)-1]
			p.free = p.free[:len(p.free)-1]
			return b[:n]
		}
	}
	return make([]byte, n)
}

func (p *pool) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b)
}
