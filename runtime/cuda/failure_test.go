package cuda

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/program"
)

func TestWithoutAGPUTheErrorSaysWhatWasLookedFor(t *testing.T) {
	if !dynlib.Supported {
		err := New(Options{Host: cpu.New()}).Check()
		if _, ok := errors.AsType[*runtime.UnavailableError](err); !ok || !errors.Is(err, dynlib.ErrBuiltWithout) {
			t.Errorf("without a loader: %v", err)
		}
		return
	}
	for name, c := range map[string]struct {
		device int
		set    func(t *testing.T, cuda *drivertest.Library)
		want   []string
	}{
		"no libcuda":       {0, func(t *testing.T, _ *drivertest.Library) { t.Setenv(driver.EnvCUDA, "/nowhere/libcuda.so.1") }, []string{"libcuda", "/nowhere/libcuda.so.1"}},
		"no libcublasLt":   {0, func(t *testing.T, _ *drivertest.Library) { t.Setenv(driver.EnvCUBLASLt, "/nowhere/lt.so") }, []string{"libcublasLt", "/nowhere/lt.so"}},
		"another library":  {0, func(t *testing.T, _ *drivertest.Library) { t.Setenv(driver.EnvCUDA, "libc.so.6") }, []string{"cuDriverGetVersion"}},
		"an old driver":    {0, func(_ *testing.T, cuda *drivertest.Library) { cuda.Set("version", 11080) }, []string{"CUDA 11.8", "12.0"}},
		"no device":        {0, func(_ *testing.T, cuda *drivertest.Library) { cuda.Set("devices", 0) }, []string{"no CUDA-capable device"}},
		"fewer devices":    {3, func(_ *testing.T, cuda *drivertest.Library) { cuda.Set("devices", 2) }, []string{`"cuda:3"`, "device 3: the machine has 2"}},
		"a card too old":   {0, func(_ *testing.T, cuda *drivertest.Library) { cuda.Set("capability", 8, 0) }, []string{"Fake GPU 0", "8.0", "8.9"}},
		"a card in use":    {0, func(_ *testing.T, cuda *drivertest.Library) { cuda.Fail("cuDevicePrimaryCtxRetain", 101, 0) }, []string{"cuDevicePrimaryCtxRetain"}},
		"no room for more": {0, func(_ *testing.T, cuda *drivertest.Library) { cuda.Fail("cuDevicePrimaryCtxRetain", 2, 0) }, []string{"out of memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			cuda := drivertest.CUDA(t).Use(driver.EnvCUDA)
			drivertest.CUBLASLt(t, "130102").Use(driver.EnvCUBLASLt)
			c.set(t, cuda)
			b := New(Options{Device: c.device, Host: cpu.New()})
			err := b.Check()
			if said, ok := errors.AsType[*runtime.UnavailableError](err); !ok || said.Backend != b.Name() {
				t.Fatalf("%v, want an UnavailableError of %q", err, b.Name())
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			r := &rig{}
			if _, again := b.Open(t.Context(), r.model(), runtime.Options{}); again != err {
				t.Errorf("open: %v", again)
			}
		})
	}
	for _, o := range []Options{{Compute: "float16", Host: cpu.New()}, {}} {
		if err := New(o).Check(); err == nil || strings.Contains(err.Error(), "looked at") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestMemoryThatDoesNotSufficeIsAnErrorWithTheNumbers(t *testing.T) {
	r := newRig(t)
	r.cuda.Set("memory", 40<<20) // 32 are the workspace's
	s := r.open(t, r.model(), runtime.Options{})
	for range 2 {
		_, err := s.Run(t.Context(), numbers(0, 1<<20)) // 4 MiB in, through, and out
		said, ok := errors.AsType[*runtime.MemoryError](err)
		if !ok || said.Of != "Fake GPU 0" || said.Need <= said.Have || said.Have != 8<<20 || said.Need < 12<<20 {
			t.Fatalf("%v, want a MemoryError", err)
		}
	}
	if n := r.cuda.Used(); n != 32<<20 {
		t.Errorf("%d bytes are taken after the failure", n)
	}
	// Less fits, and what fits only alone pushes others out.
	for _, n := range []int{3, 600_000, 500_000, 3} {
		if _, err := s.Run(t.Context(), numbers(0, n)); err != nil {
			t.Fatalf("%d numbers: %v", n, err)
		}
	}

	// A bound of the caller's, in which the workspace counts.
	s = r.open(t, r.model(), runtime.Options{MaxMemory: 33 << 20})
	if _, err := s.Run(t.Context(), numbers(0, 1000)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Run(t.Context(), numbers(0, 100_000))
	said, ok := errors.AsType[*runtime.MemoryError](err)
	if !ok || said.Have != 33<<20 || said.Of != "" || said.Need < 32<<20+1_200_000 {
		t.Errorf("%v, want a MemoryError", err)
	}
	for _, n := range []int{60_000, 70_000, 60_000} { // one at a time
		if err := runs(t, s, n); err != nil {
			t.Errorf("%d numbers: %v", n, err)
		}
	}
	if s.mem.held+lt.DefaultWorkspace > 33<<20 {
		t.Errorf("%d bytes are held beside the workspace, and 33 MiB are allowed", s.mem.held)
	}
	s = r.open(t, r.model(), runtime.Options{MaxMemory: 32 << 20})
	if _, err := s.Run(t.Context(), numbers(0, 3)); !errors.As(err, &said) || said.Need <= 32<<20 {
		t.Errorf("%v, want a MemoryError: the workspace leaves nothing", err)
	}
}

func TestAnAllocationThatFailsAllTheSame(t *testing.T) {
	for after := range 5 { // the workspace, the arena, what is kept, the weight
		r := newRig(t)
		r.cuda.Fail("cuMemAlloc_v2", 2, after)
		s, err := r.backend.Open(t.Context(), r.model(), runtime.Options{Variables: []string{"v", "same"}})
		if err == nil {
			s.(*session).launchOnly = true
			_, err = s.Run(t.Context(), numbers(0, 3))
		}
		if said, ok := errors.AsType[*runtime.MemoryError](err); after < 4 && (!ok || said.Need == 0) || after == 4 && err != nil {
			t.Errorf("allocation %d: %v", after, err)
		}
		if s == nil {
			continue
		}
		res, err := s.Run(t.Context(), numbers(0, 3))
		if err != nil {
			t.Fatalf("allocation %d: the run after: %v", after, err)
		}
		wants(t, res, "w", 7, 8, 9)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if n := r.cuda.Used(); n != lt.DefaultWorkspace {
			t.Errorf("allocation %d: %d bytes are left", after, n)
		}
	}
}

func TestALostContextEndsTheSession(t *testing.T) {
	for _, call := range []string{"cuStreamSynchronize", "cuMemcpyDtoDAsync_v2", "cuGraphLaunch"} {
		r := newRig(t)
		s, err := r.backend.Open(t.Context(), r.model(), runtime.Options{Variables: []string{"v", "same"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context(), numbers(0, 3)); err != nil {
			t.Fatal(err)
		}
		if call == "cuMemcpyDtoDAsync_v2" {
			s.(*session).launchOnly = true
		}
		r.cuda.Fail(call, 700, 0)
		if _, err := s.Run(t.Context(), numbers(0, 3)); err == nil || !strings.Contains(err.Error(), "CUDA context is lost") {
			t.Errorf("%s: %v", call, err)
		}
		_, err = s.Run(t.Context(), numbers(0, 3))
		if _, ok := errors.AsType[*driver.LostError](err); !ok || !strings.Contains(err.Error(), "illegal memory access") {
			t.Errorf("%s: the run after: %v, want a LostError", call, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", call, err)
		}
	}
}

func TestAFaultIsTheNodesError(t *testing.T) {
	r := newRig(t)
	raise := true
	r.edit = func(h *hand) {
		h.prog.Steps = append(h.prog.Steps, program.Step{Launch: func(l *program.Launcher) error {
			if !raise {
				return nil
			}
			return l.Context.Set32(l.Addr(h.flag), 1, 1, l.Stream)
		}})
	}
	s := r.open(t, r.model(), runtime.Options{})
	s.launchOnly = true
	_, err := s.Run(t.Context(), numbers(0, 3))
	if said, ok := errors.AsType[*runtime.NodeError](err); !ok || said.Node != "make_y" || said.Op != "Identity" || !strings.Contains(err.Error(), "the flag was raised") {
		t.Errorf("%v, want a NodeError", err)
	}
	_, err = s.Profile(t.Context(), numbers(0, 3), 2)
	if said, ok := errors.AsType[*runtime.NodeError](err); !ok || said.Node != "make_y" {
		t.Errorf("profile: %v, want a NodeError", err)
	}
	raise = false
	if _, err := s.Run(t.Context(), numbers(0, 3)); err != nil {
		t.Errorf("the run after: %v", err)
	}
	if _, err := s.Profile(t.Context(), numbers(0, 3), 2); err != nil {
		t.Errorf("the profile after: %v", err)
	}
}

func TestALaunchThatFailsIsTheNodesError(t *testing.T) {
	r := newRig(t)
	mistake := errors.New("a mistake")
	fail := true
	r.edit = func(h *hand) {
		h.prog.Steps[2].Launch = func(*program.Launcher) error {
			if fail {
				return mistake
			}
			return nil
		}
	}
	s := r.open(t, r.model(), runtime.Options{})
	_, err := s.Run(t.Context(), numbers(0, 3))
	if said, ok := errors.AsType[*runtime.NodeError](err); !ok || said.Node != "make_w" || !errors.Is(err, mistake) {
		t.Errorf("%v, want a NodeError", err)
	}
	fail = false
	for range 2 {
		if _, err := s.Run(t.Context(), numbers(0, 3)); err != nil {
			t.Errorf("the run after: %v", err)
		}
	}
	// While it is recorded: nothing is left of the recording.
	fail = true
	if _, err := r.open(t, r.model(), runtime.Options{}).Run(t.Context(), numbers(0, 3)); !errors.Is(err, mistake) {
		t.Errorf("%v", err)
	}
}

func TestACancelledRunLeavesTheSessionGood(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.edit = func(h *hand) {
		before := h.prog.Setup[0].Launch
		h.prog.Setup[0].Launch = func(l *program.Launcher) error {
			cancel()
			return before(l)
		}
	}
	s := r.open(t, r.model(), runtime.Options{})
	s.launchOnly = true
	if _, err := s.Run(ctx, numbers(0, 3)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	res, err := s.Run(t.Context(), numbers(0, 3))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, res, "u", 1, 2)
}
