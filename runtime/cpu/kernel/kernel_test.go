package kernel

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestForVisitsEveryRangeOnce(t *testing.T) {
	for _, threads := range []int{1, 3} {
		for _, n := range []int{0, 1, 7, 100} {
			seen := make([]atomic.Int32, n)
			NewPool(threads).For(n, 8, func(lo, hi int) {
				if lo%8 != 0 || hi-lo > 8 {
					t.Errorf("range [%d,%d) does not follow the grain", lo, hi)
				}
				for i := lo; i < hi; i++ {
					seen[i].Add(1)
				}
			})
			for i := range seen {
				if seen[i].Load() != 1 {
					t.Errorf("%d threads: element %d of %d was visited %d times", threads, i, n, seen[i].Load())
				}
			}
		}
	}
}

func TestForRaisesPanicsInItsCaller(t *testing.T) {
	for _, threads := range []int{1, 4} {
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("%d threads: recovered %v", threads, r)
				}
			}()
			NewPool(threads).For(100, 1, func(lo, _ int) {
				if lo == 50 {
					panic("boom")
				}
			})
		}()
	}
}

func TestForStops(t *testing.T) {
	for _, threads := range []int{1, 4} {
		p := NewPool(threads)
		enough := errors.New("enough")
		var ran atomic.Int32
		p.StopWhen(func() error {
			if ran.Load() >= 10 {
				return enough
			}
			return nil
		})
		func() {
			defer func() {
				if s, ok := recover().(Stopped); !ok || s.Err != enough {
					t.Errorf("%d threads: recovered %v", threads, s)
				}
			}()
			p.For(1000, 1, func(int, int) { ran.Add(1) })
		}()
		if n := int(ran.Load()); n > 10+threads {
			t.Errorf("%d threads: %d ranges ran", threads, n)
		}
		p.StopWhen(nil)
		p.For(10, 1, func(int, int) {})
	}
}

func TestArenaReusesWhatWasReleased(t *testing.T) {
	a := NewArena(0)
	x, err := a.New(tensor.Float32, []int{1000})
	if err != nil {
		t.Fatal(err)
	}
	at := &x.Bytes[0]
	view := x.Reshape([]int{10, 100})
	Release(x)
	if y, _ := a.New(tensor.Float32, []int{1000}); &y.Bytes[0] == at {
		t.Error("memory that a view looks at was handed out")
	}
	Release(view)
	if y, _ := a.New(tensor.Float32, []int{999}); &y.Bytes[0] != at {
		t.Error("free memory of the same class was not used")
	}
}

func TestArenaKeepsItsLimit(t *testing.T) {
	a := NewArena(8 << 10)
	x, err := a.New(tensor.Float32, []int{1024})
	if err != nil {
		t.Fatal(err)
	}
	var full *LimitError
	if _, err := a.New(tensor.Float32, []int{2048}); !errors.As(err, &full) || full.Limit != 8<<10 {
		t.Errorf("%v, want a LimitError", err)
	}
	Release(x)
	if _, err := a.New(tensor.Float32, []int{2048}); err != nil {
		t.Errorf("after a release: %v", err)
	}
	if a.Peak() != 8<<10 {
		t.Errorf("peak %d", a.Peak())
	}
	for _, shape := range [][]int{{-1}, {1 << 40, 1 << 40}} {
		var size *SizeError
		if _, err := a.New(tensor.Float32, shape); !errors.As(err, &size) {
			t.Errorf("shape %v: %v, want a SizeError", shape, err)
		}
	}
}

func TestDetachedMemoryIsTheCallers(t *testing.T) {
	a := NewArena(4 << 10)
	a.Poison()
	x, err := a.New(tensor.Int32, []int{1024})
	if err != nil {
		t.Fatal(err)
	}
	for i := range Of[int32](x) {
		Of[int32](x)[i] = int32(i)
	}
	Retain(x)
	shared := x.Detach()
	Release(x)
	own := x.Detach()
	if _, err := a.New(tensor.Int32, []int{1024}); err != nil {
		t.Errorf("the arena still counts what left it: %v", err)
	}
	Release(x)
	if &shared[0] == &own[0] || !slices.Equal(shared, own) || own[4] != 1 {
		t.Error("a detached copy and the memory itself differ, or are one")
	}
}
