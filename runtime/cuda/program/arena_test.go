package program

import (
	"math/rand/v2"
	"testing"
)

func TestArenaHoldsWhatLivesAndLittleMore(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		steps := make([]Step, 2+r.IntN(120))
		var live []*Buffer
		for i := range steps {
			s := &steps[i]
			for range 1 + r.IntN(2) {
				buf := &Buffer{Bytes: int64(1) << r.IntN(24) * int64(1+r.IntN(3))}
				s.Writes = append(s.Writes, buf)
				live = append(live, buf)
			}
			for range r.IntN(3) {
				// Mostly what was written lately, as models do, sometimes something old.
				back := min(len(live), 6)
				if r.IntN(10) == 0 {
					back = len(live)
				}
				s.Reads = append(s.Reads, live[len(live)-1-r.IntN(back)])
			}
		}
		p := &Program{Steps: steps}
		var err error
		if p.Arena, err = plan(steps); err != nil {
			t.Fatal(err)
		}
		noOverlap(t, p, steps)
		all, err := lifetimes(steps)
		if err != nil {
			t.Fatal(err)
		}
		if least := peak(all, len(steps)); p.Arena < least || float64(p.Arena) > 1.25*float64(least) {
			t.Errorf("seed %d: %d bytes, %d live at one time", seed, p.Arena, least)
		}
	}
}

func TestWhatIsReadBeforeItIsWrittenIsAnError(t *testing.T) {
	buf := &Buffer{Bytes: 4}
	if _, err := plan([]Step{{Kernel: "a", Reads: []*Buffer{buf}}, {Kernel: "b", Writes: []*Buffer{buf}}}); err == nil {
		t.Error("no error")
	}
}
