package quantize

import (
	"io"

	"github.com/fp8rewrite/fp8rewrite/float8"
)

const (
	// panelBytes is about how large a panel is.
	panelBytes = 4 << 20
	// panelMost is how large a panel may be so that a transposed source is read in pieces that are not too short.
	panelMost = 10 << 20
	// scratchMost is how much memory a panel may need besides, while it is made.
	scratchMost = 3 << 19
	line        = 64 // bytes of a line of the processor's cache
)

// panel is the part of a matrix that one worker makes at a time: inputs [from, to) of output channels [lo, hi). It is a run of the
// bytes in [N, K] order: whole channels, or a part of one.
type panel struct{ lo, hi, from, to int }

func (p panel) channels() int { return p.hi - p.lo }
func (p panel) inputs() int   { return p.to - p.from }

// panels is how a matrix of n channels of k inputs is cut. It depends on the shape alone.
type panels struct {
	n, k             int
	channels, inputs int // of a panel
}

// cut makes panels for elements of width bytes.
func cut(m Matrix, width int) panels {
	c := panels{n: int(m.N), k: int(m.K), inputs: int(m.K)}
	row := max(1, c.k*width)
	c.channels = panelBytes / row
	if m.Transposed {
		// An odd number of cache lines of codes, so that the rows of a tile spread over all sets of the first-level cache, and at
		// least five, since each source row is read that much at a time.
		c.channels = line * max(5, (c.channels/line-1)|1)
		if most := panelMost / row; c.channels > most {
			c.channels = most
			if most > line {
				c.channels -= most % line
			}
		}
	}
	c.channels = max(1, min(c.channels, c.n))
	if c.channels*row > panelMost {
		c.inputs = panelBytes / width
	}
	return c
}

// perChannel is how many panels side by side make a channel.
func (c panels) perChannel() int { return ceil(c.k, c.inputs) }

func (c panels) count() int { return ceil(c.n, c.channels) * c.perChannel() }

func (c panels) at(i int) panel {
	lo, from := i/c.perChannel()*c.channels, i%c.perChannel()*c.inputs
	return panel{lo, min(lo+c.channels, c.n), from, min(from+c.inputs, c.k)}
}

func ceil(a, b int) int { return (a + b - 1) / b }

// writePanels makes the panels of a matrix on all processors and writes them in order. fill gets the panel's own bytes, of width
// for each element, and scratch bytes besides.
func writePanels(out io.Writer, pool *Buffers, c panels, width int, scratch func(p panel) int,
	fill func(p panel, own, scratch []byte) float8.Stats) (written int64, st float8.Stats, err error) {
	w := pool.begin()
	defer w.end()
	own := func(p panel) int { return p.channels() * p.inputs() * width }
	err = inOrder(c.count(), func(i int, stop <-chan struct{}) bool {
		p := c.at(i)
		return w.take(i, aligned(own(p))+scratch(p), stop)
	}, func(i int) (float8.Stats, error) {
		p, b := c.at(i), w.block(i)
		st := fill(p, b[:own(p)], b[aligned(own(p)):])
		w.keep(i, own(p))
		return st, nil
	}, func(i int, more float8.Stats) error {
		st.Merge(more)
		k, err := out.Write(w.block(i)[:own(c.at(i))])
		written += int64(k)
		w.leave(i)
		return err
	})
	return written, st, err
}

// tile is how a panel of a transposed source is worked on: up to tall of its source rows, that is inputs, and up to wide of its
// channels at a time.
type tile struct{ tall, wide int }

// tileOf gives tiles of up to tall rows that need at most scratchMost bytes at perElement.
func tileOf(p panel, tall, perElement int) tile {
	// Few channels make up for it by more rows, else the runs to cast or to copy were short.
	tall = min(p.inputs(), max(tall, tall*line/p.channels()))
	pieces := ceil(p.channels(), max(1, scratchMost/perElement/tall))
	wide := ceil(p.channels(), pieces)
	if pieces > 1 && wide > line {
		wide -= wide % line
	}
	return tile{tall, wide}
}

// each calls f for every tile of p: source rows [top, top+height), channels [lo, hi).
func (t tile) each(p panel, f func(top, height, lo, hi int)) {
	for top := p.from; top < p.to; top += t.tall {
		for lo := p.lo; lo < p.hi; lo += t.wide {
			f(top, min(t.tall, p.to-top), lo, min(lo+t.wide, p.hi))
		}
	}
}
