package cuda

import (
	"errors"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/program"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// runs runs a session on n numbers, from 1 on, and holds what comes out against what went in.
func runs(t *testing.T, s *session, n int) error {
	t.Helper()
	s.launchOnly = true
	res, err := s.Run(t.Context(), numbers(1, n))
	if err != nil {
		return err
	}
	got, err := res.Values["y"].Tensor.AsFloat32s()
	if err != nil || len(got) != n || got[0] != 1 || got[n-1] != float32(n) {
		t.Errorf("%d numbers came back as %d (%v)", n, len(got), err)
	}
	wants(t, res, "w", 7, 8, 9)
	wants(t, res, "u", 1, 2)
	return nil
}

func TestAnArenaThatCouldNotGrowIsTakenAgain(t *testing.T) {
	r := newRig(t)
	s := r.open(t, r.model(), runtime.Options{})
	mustRun := func(n int) {
		t.Helper()
		if err := runs(t, s, n); err != nil {
			t.Fatalf("%d numbers: %v", n, err)
		}
	}
	mustRun(3)
	r.cuda.Fail("cuMemAlloc_v2", 1, 0)
	if err := runs(t, s, 1000); err == nil {
		t.Fatal("a run without an arena")
	}
	if s.mem.size != 0 || len(s.resident) != 1 {
		t.Fatalf("an arena of %d bytes, %d programs loaded: want none, and the one before", s.mem.size, len(s.resident))
	}
	mustRun(3)
	mustRun(1000)

	// Out of memory, once: what is idle gives way, and that is enough.
	r.cuda.Fail("cuMemAlloc_v2", 2, 0)
	mustRun(2000)
	mustRun(3)
	mustRun(1000)

	// A program that is wrong about its arena does not read elsewhere.
	r.edit = func(h *hand) { h.prog.Arena -= 4 }
	if err := runs(t, s, 4000); err == nil || !strings.Contains(err.Error(), "internal error: an array ends at byte 16000 of an arena of 15996") {
		t.Errorf("an array that ends behind the arena: %v", err)
	}
}

func TestShapesThatDoNotFitTogetherTakeTurnsAndShareTheWeights(t *testing.T) {
	r := newRig(t)
	r.cuda.Set("memory", 40<<20) // 8 beside the workspace
	filled := 0
	r.edit = func(h *hand) {
		fill := h.weight.Buffer.Fill
		h.weight.Buffer.Fill = func(dst []byte, offset int64) error {
			filled++
			return fill(dst, offset)
		}
	}
	s := r.open(t, r.model(), runtime.Options{})
	for _, c := range []struct{ n, allocations int }{{400_000, 3}, {450_000, 2}, {400_000, 1}, {450_000, 1}, {690_000, 2}, {3, 1}} {
		r.cuda.Forget()
		if err := runs(t, s, c.n); err != nil {
			t.Fatalf("%d numbers: %v", c.n, err)
		}
		// What does not fit is known before it is tried.
		if got := count(r.cuda.Log(), "cuMemAlloc "); got != c.allocations {
			t.Errorf("%d numbers: %d allocations, want %d", c.n, got, c.allocations)
		}
	}
	if filled != 1 {
		t.Errorf("the weight was uploaded %d times, want once", filled)
	}
	// What would not fit alone pushes nothing out.
	before := len(s.resident)
	if err := runs(t, s, 1<<20); err == nil || before == 0 || len(s.resident) != before {
		t.Errorf("%v; of %d programs %d stayed", err, before, len(s.resident))
	}
}

func TestALargeArenaAndDeadWeightsGiveWay(t *testing.T) {
	r := newRig(t)
	r.cuda.Set("memory", 40<<20)
	s := r.open(t, r.model(), runtime.Options{})
	// Five MiB of arena and little else; then little arena, and six MiB of state.
	wide := int64(5 << 20)
	r.edit = func(h *hand) { h.prog.Arena = wide }
	if err := runs(t, s, 3); err != nil {
		t.Fatal(err)
	}
	r.edit = func(h *hand) {
		h.prog.State = append(h.prog.State, &program.Buffer{Home: program.State, Bytes: 6 << 20})
	}
	if err := runs(t, s, 5); err != nil {
		t.Fatal(err)
	}
	if s.mem.size != 20 {
		t.Errorf("an arena of %d bytes, want the 20 that are needed", s.mem.size)
	}
	// A weight of another program's, five MiB, lies beside the one that both use.
	r.edit = func(h *hand) {
		h.prog.Weights = append(h.prog.Weights, &program.Buffer{Home: program.Weight, Bytes: wide, Form: "bytes", Fill: func([]byte, int64) error { return nil }})
	}
	s = r.open(t, r.model(), runtime.Options{})
	for _, n := range []int{3, 500_000, 3} {
		if err := runs(t, s, n); err != nil {
			t.Fatalf("%d numbers: %v", n, err)
		}
		r.edit = nil
	}
}

func TestAnIdleSessionGivesWay(t *testing.T) {
	r := newRig(t)
	r.cuda.Set("memory", 40<<20) // 8 beside the workspace
	first, second := r.open(t, r.model(), runtime.Options{}), r.open(t, r.model(), runtime.Options{})
	for range 2 {
		for _, s := range []*session{first, second} {
			for _, n := range []int{3, 600_000} { // 7.2 MB
				if err := runs(t, s, n); err != nil {
					t.Fatalf("%d numbers: %v", n, err)
				}
			}
		}
	}
	if len(first.resident) != 0 || first.mem.held != 0 {
		t.Errorf("the idle one has %d programs and %d bytes", len(first.resident), first.mem.held)
	}
	// Where both fit both stay.
	for range 2 {
		for _, s := range []*session{second, first} {
			if err := runs(t, s, 200_000); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(first.resident) != 1 || len(second.resident) != 1 {
		t.Errorf("%d and %d programs are left, want one of each", len(first.resident), len(second.resident))
	}
	// A bound is the session's own: another one's memory does not help.
	bound := r.open(t, r.model(), runtime.Options{MaxMemory: 33 << 20})
	if err := runs(t, bound, 100_000); err == nil {
		t.Error("1.2 MB in 1 MiB")
	}
	r.edit = func(h *hand) { h.prog.Arena = 900_000 }
	if err := runs(t, bound, 3); err != nil {
		t.Error(err)
	}
	r.edit = func(h *hand) {
		h.prog.State = append(h.prog.State, &program.Buffer{Home: program.State, Bytes: 600_000})
	}
	if err := runs(t, bound, 5); err != nil {
		t.Error(err)
	}
	if len(first.resident) != 1 || len(second.resident) != 1 {
		t.Error("a bound pushed another session out")
	}
	if err := errors.Join(first.Close(), second.Close(), bound.Close()); err != nil {
		t.Fatal(err)
	}
	if used := r.cuda.Used(); used != lt.DefaultWorkspace || len(r.backend.gpu.sessions) != 0 {
		t.Errorf("%d bytes are left, and %d sessions", used, len(r.backend.gpu.sessions))
	}
}

func TestSessionsOfSeveralGoroutinesPushEachOtherOut(t *testing.T) {
	r := newRig(t)
	r.cuda.Set("memory", 40<<20)
	errs := make(chan error)
	for range 2 {
		s := r.open(t, r.model(), runtime.Options{})
		s.launchOnly = true
		go func() {
			for i := range 20 {
				if i == 10 {
					if err := s.Set("v", tensor.Float32s(tensor.Shape{2}, 1, 2)); err != nil {
						errs <- err
						return
					}
				}
				if _, err := s.Run(t.Context(), numbers(i, 400_000+i%3)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	if err := errors.Join(<-errs, <-errs); err != nil {
		t.Fatal(err)
	}
}
