package calibrate

import (
	"context"
	"sync"
)

// Local is a group of n ranks in this process, one for each goroutine that is to take part: the reference for groups of processes.
// A rank whose context ends leaves the others waiting until theirs does.
func Local(n int) []Group {
	hub := &hub{size: n}
	hub.round = &round{done: make(chan struct{})}
	groups := make([]Group, n)
	for i := range groups {
		groups[i] = &local{hub, i}
	}
	return groups
}

type local struct {
	hub  *hub
	rank int
}

// hub holds the call that the ranks are in.
type hub struct {
	size  int
	mu    sync.Mutex
	round *round
}

// round is one call. The last rank to come closes done.
type round struct {
	come int
	max  []float32
	sum  []int64
	done chan struct{}
}

func (l *local) Rank() int { return l.rank }
func (l *local) Size() int { return l.hub.size }

func (l *local) AllReduceMax(ctx context.Context, v []float32) error {
	r, err := l.join(ctx, func(r *round) {
		if r.max == nil {
			r.max = append([]float32(nil), v...)
			return
		}
		for i, x := range v {
			r.max[i] = max(r.max[i], x)
		}
	})
	if err == nil {
		copy(v, r.max)
	}
	return err
}

func (l *local) AllReduceSum(ctx context.Context, v []int64) error {
	r, err := l.join(ctx, func(r *round) {
		if r.sum == nil {
			r.sum = make([]int64, len(v))
		}
		for i, x := range v {
			r.sum[i] += x
		}
	})
	if err == nil {
		copy(v, r.sum)
	}
	return err
}

func (l *local) Barrier(ctx context.Context) error {
	_, err := l.join(ctx, func(*round) {})
	return err
}

// join adds this rank's part to the call under way and waits for the others'.
func (l *local) join(ctx context.Context, add func(*round)) (*round, error) {
	h := l.hub
	h.mu.Lock()
	r := h.round
	add(r)
	if r.come++; r.come == h.size {
		h.round = &round{done: make(chan struct{})}
		close(r.done)
	}
	h.mu.Unlock()
	select {
	case <-r.done:
		return r, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
