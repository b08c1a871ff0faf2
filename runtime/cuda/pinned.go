package cuda

import (
	"errors"
	"slices"
	"sync"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// pinned is the memory of the host through which sessions' data passes to the GPU and back: copies from other memory run at a fraction of
// the bus's speed. It goes with the process, as the rest of what sessions share.
type pinned struct {
	up, down *driver.HostBuffer
	used     int64 // of up, by copies that may not be done
	done     [2]driver.Event
	weights  *driver.Uploader
	threads  int // that copy on the host
}

const (
	smallestPinned = 64 << 10
	largestPinned  = 32 << 20 // what is larger goes in pieces
	weightPiece    = 16 << 20
	alignment      = 256 // of arrays on the GPU
)

// piece is bytes of the host and where they lie on the GPU.
type piece struct {
	at    driver.Ptr
	bytes []byte
}

// upload puts pieces to the GPU in the order of s. It does not wait, and the pieces may change afterwards.
func (p *pinned) upload(c *driver.Context, pieces []piece, s driver.Stream) error {
	for _, run := range joined(pieces) {
		last := run[len(run)-1]
		n := int64(last.at-run[0].at) + int64(len(last.bytes))
		if n > largestPinned {
			if err := p.uploadLarge(c, run[0].at, n, func(dst []byte, offset int64) error {
				return parallel(p.threads, len(dst), func(from, to int) error {
					copy(dst[from:to], last.bytes[offset+int64(from):])
					return nil
				})
			}, s); err != nil {
				return err
			}
			continue
		}
		if err := p.reserve(c, n, s); err != nil {
			return err
		}
		room := p.up.Bytes()[p.used : p.used+n]
		for _, q := range run {
			copy(room[q.at-run[0].at:], q.bytes)
		}
		if err := c.CopyIn(run[0].at, p.up, p.used, n, s); err != nil {
			return err
		}
		p.used += (n + alignment - 1) / alignment * alignment
	}
	return nil
}

// joined are pieces in groups that one copy can bring: each begins behind the one before, after at most what alignment leaves between two
// arrays, so that nothing else lies between. A piece too large for a copy stands alone.
func joined(pieces []piece) [][]piece {
	pieces = slices.DeleteFunc(slices.Clone(pieces), func(p piece) bool { return len(p.bytes) == 0 })
	slices.SortStableFunc(pieces, func(a, b piece) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	var groups [][]piece
	start := driver.Ptr(0)
	for i, p := range pieces {
		if i > 0 {
			before := pieces[i-1]
			end := before.at.Add(int64(len(before.bytes)))
			if p.at >= end && p.at-end < alignment && int64(p.at-start)+int64(len(p.bytes)) <= largestPinned {
				groups[len(groups)-1] = append(groups[len(groups)-1], p)
				continue
			}
		}
		groups = append(groups, []piece{p})
		start = p.at
	}
	return groups
}

// reserve makes room for n bytes in up, waiting for copies that use it where it is full.
func (p *pinned) reserve(c *driver.Context, n int64, s driver.Stream) error {
	size := int64(0)
	if p.up != nil {
		size = int64(len(p.up.Bytes()))
	}
	if p.used+n <= size {
		return nil
	}
	if err := c.Sync(s); err != nil {
		return err
	}
	p.used = 0
	if n <= size {
		return nil
	}
	if err := c.FreeHost(p.up); err != nil {
		return err
	}
	p.up = nil
	buffer, err := c.AllocHost(roundUp(n))
	p.up = buffer
	return err
}

// roundUp is the size of a pinned buffer for n bytes.
func roundUp(n int64) int64 {
	size := int64(smallestPinned)
	for size < n {
		size *= 2
	}
	return size
}

// uploadLarge fills n bytes at dst by pieces; see [driver.Context.Upload].
func (p *pinned) uploadLarge(c *driver.Context, dst driver.Ptr, n int64, fill func([]byte, int64) error, s driver.Stream) error {
	if p.weights == nil {
		u, err := c.NewUploader(weightPiece)
		if err != nil {
			return err
		}
		p.weights = u
	}
	return c.Upload(p.weights, dst, n, fill, s)
}

// synced tells that the stream's work is done: all of up is free.
func (p *pinned) synced() { p.used = 0 }

// download fills the pieces' bytes from the GPU once s has come so far, and waits for it. Copies to pinned memory and from there to the
// pieces overlap.
func (p *pinned) download(c *driver.Context, pieces []piece, s driver.Stream) error {
	total := int64(0)
	for _, q := range pieces {
		total += (int64(len(q.bytes)) + 7) / 8 * 8
	}
	half := roundUp(min(total, largestPinned/2))
	if p.down == nil || int64(len(p.down.Bytes())) < 2*half {
		if err := c.FreeHost(p.down); err != nil {
			return err
		}
		p.down = nil
		b, err := c.AllocHost(2 * half)
		if err != nil {
			return err
		}
		p.down = b
	}
	half = int64(len(p.down.Bytes())) / 2
	for i := range p.done {
		if p.done[i] == 0 {
			e, err := c.NewEvent(false)
			if err != nil {
				return err
			}
			p.done[i] = e
		}
	}
	var waiting [2][]piece // at is the place in down
	finish := func(i int) error {
		if waiting[i] == nil {
			return nil
		}
		if err := c.SyncEvent(p.done[i]); err != nil {
			return err
		}
		for _, q := range waiting[i] {
			src := p.down.Bytes()[q.at:]
			if err := parallel(p.threads, len(q.bytes), func(from, to int) error {
				copy(q.bytes[from:to], src[from:])
				return nil
			}); err != nil {
				return err
			}
		}
		waiting[i] = nil
		return nil
	}
	turn, used := 0, int64(0)
	flush := func() error {
		if waiting[turn] != nil {
			if err := c.Record(p.done[turn], s); err != nil {
				return err
			}
		}
		turn, used = 1-turn, 0
		return finish(turn)
	}
	for _, q := range pieces {
		for from := int64(0); from < int64(len(q.bytes)); {
			n := min(int64(len(q.bytes))-from, half-used)
			place := int64(turn)*half + used
			if err := c.CopyOut(p.down, place, q.at.Add(from), n, s); err != nil {
				return err
			}
			waiting[turn] = append(waiting[turn], piece{driver.Ptr(place), q.bytes[from : from+n]})
			from += n
			used += (n + 7) / 8 * 8
			if used >= half {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := finish(1 - turn); err != nil {
		return err
	}
	// Without pieces nothing was waited for; with them this costs nothing.
	if err := c.Sync(s); err != nil {
		return err
	}
	p.synced()
	return nil
}

// parallel calls f for parts of n bytes, from several goroutines where that is worth it. A part begins at a multiple of 4096, and so of
// every element's size.
func parallel(threads, n int, f func(from, to int) error) error {
	const worth, granule = 1 << 20, 4096
	parts := min(threads, n/worth)
	if parts < 2 {
		return f(0, n)
	}
	errs := make([]error, parts)
	at := func(i int) int {
		if i == parts {
			return n
		}
		return n * i / parts / granule * granule
	}
	var wait sync.WaitGroup
	for i := range parts {
		wait.Go(func() { errs[i] = f(at(i), at(i+1)) })
	}
	wait.Wait()
	return errors.Join(errs...)
}
