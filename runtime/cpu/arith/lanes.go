package arith

import "github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"

// lanes are a tensor seen along one axis: outer·inner lanes of n elements, inner apart from each other.
type lanes struct{ outer, n, inner int }

// along sees a shape along an axis that counts from the front.
func along(shape []int, axis int) lanes {
	return lanes{kernel.Count(shape[:axis]), shape[axis], kernel.Count(shape[axis+1:])}
}

// count is the number of lanes.
func (l lanes) count() int { return l.outer * l.inner }

// start is where lane i begins.
func (l lanes) start(i int) int { return i/l.inner*l.n*l.inner + i%l.inner }

// each calls f for every lane, several at a time. Lanes are shared out in groups, each with state of its own from make.
func each[S any](pool *kernel.Pool, l lanes, make func() S, f func(lane int, state S)) {
	if l.inner == 0 || l.outer == 0 {
		return
	}
	pool.For(l.count(), max(1, grain/max(1, l.n)), func(lo, hi int) {
		state := make()
		for i := lo; i < hi; i++ {
			f(i, state)
		}
	})
}

// gather copies a lane to dst.
func gather[T any](dst, src []T, l lanes, lane int) {
	at := l.start(lane)
	if l.inner == 1 {
		copy(dst, src[at:at+l.n])
		return
	}
	for i := range dst[:l.n] {
		dst[i] = src[at]
		at += l.inner
	}
}

// scatter copies src to a lane.
func scatter[T any](dst, src []T, l lanes, lane int) {
	at := l.start(lane)
	for _, v := range src[:l.n] {
		dst[at] = v
		at += l.inner
	}
}
