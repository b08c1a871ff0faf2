package driver_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// openGPU is GPU 0. Without one the test is skipped, saying what is missing.
func openGPU(t testing.TB) *driver.Device {
	t.Helper()
	f := driver.Find()
	d, err := choose(f)
	if err != nil {
		t.Skipf("no GPU: %v", err)
	}
	infos, err := driver.Devices(d)
	if err != nil {
		t.Skipf("no GPU: %v", err)
	}
	t.Logf("%s: CUDA %s; %+v", f.CUDA.Path, f.CUDA.VersionText(), infos)
	dev, err := driver.Open(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// axpy is the kernel of addPTX on the GPU.
func axpy(c *driver.Context) (*driver.Function, driver.Stream, error) {
	m, err := c.LoadModule("add", []byte(addPTX))
	if err != nil {
		return nil, 0, err
	}
	f, err := c.Function(m, "axpy")
	if err != nil {
		return nil, 0, err
	}
	s, err := c.NewStream()
	return f, s, err
}

func TestGPUDescribesItself(t *testing.T) {
	dev := openGPU(t)
	info := dev.Info()
	if info.Name == "" || info.Major < 5 || info.SMs < 1 || info.Total < 1<<30 || info.L2 == 0 || info.SharedPerBlock < 48<<10 {
		t.Errorf("%+v", info)
	}
	do(t, dev, func(c *driver.Context) error {
		free, total, err := c.Memory()
		if free <= 0 || free > total {
			t.Errorf("%d of %d free", free, total)
		}
		return err
	})
}

func TestGPURunsAKernelAndAGraph(t *testing.T) {
	dev := openGPU(t)
	do(t, dev, func(c *driver.Context) error {
		f, s, err := axpy(c)
		if err != nil {
			return err
		}
		const n = 1000
		x, err := c.Alloc(4 * n)
		if err != nil {
			return err
		}
		y, err := c.Alloc(4 * n)
		if err != nil {
			return err
		}
		b, err := c.AllocHost(8 * n)
		if err != nil {
			return err
		}
		for i := range n {
			binary.LittleEndian.PutUint32(b.Bytes()[4*i:], math.Float32bits(float32(i)))
		}
		if err := errors.Join(c.CopyIn(x, b, 0, 4*n, s), c.Set32(y, math.Float32bits(1), n, s)); err != nil {
			return err
		}
		// y = 1, and each launch adds 2·x + 0.5.
		args := axpyArgs(y, x, 2, n)
		check := func(launches int) {
			if err := errors.Join(c.CopyOut(b, 4*n, y, 4*n, s), c.Sync(s)); err != nil {
				t.Error(err)
				return
			}
			for i := range n {
				got := math.Float32frombits(binary.LittleEndian.Uint32(b.Bytes()[4*(n+i):]))
				if want := float32(1 + float64(launches)*(2*float64(i)+0.5)); got != want {
					t.Errorf("after %d launches: element %d is %g, want %g", launches, i, got, want)
					return
				}
			}
		}
		if err := c.Launch(f, driver.Blocks((n+255)/256, 256, s), args...); err != nil {
			return err
		}
		check(1)
		const nodes, rounds = 49, 200
		// launches tells what a launch costs the host, and how long so many kernels take as there are nodes.
		launches := func() (issued, launched time.Duration, err error) {
			start := time.Now()
			for range rounds * nodes {
				if err := c.Launch(f, driver.Blocks(4, 256, s), args...); err != nil {
					return 0, 0, err
				}
			}
			issued = time.Since(start) / (rounds * nodes)
			err = c.Sync(s)
			return issued, time.Since(start) / rounds, err
		}
		g, err := c.Capture(s, func() error {
			for range nodes {
				if err := c.Launch(f, driver.Blocks((n+255)/256, 256, s), args...); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, driver.ErrNoGraphs) {
			issued, launched, err := launches()
			t.Logf("%d kernels: launched one by one %v (%v on the host per launch), not replayed: %v", nodes, launched, issued, driver.ErrNoGraphs)
			return errors.Join(err, c.Free(x), c.Free(y), c.FreeHost(b), c.DestroyStream(s))
		}
		if err != nil {
			return err
		}
		if g.Nodes != nodes {
			t.Errorf("%d nodes, want %d", g.Nodes, nodes)
		}
		check(1) // a recording does nothing
		for range 3 {
			if err := c.Replay(g, s); err != nil {
				return err
			}
		}
		check(1 + 3*nodes)

		issued, launched, err := launches()
		if err != nil {
			return err
		}
		start := time.Now()
		for range rounds {
			if err := c.Replay(g, s); err != nil {
				return err
			}
		}
		if err := c.Sync(s); err != nil {
			return err
		}
		t.Logf("%d kernels: launched one by one %v (%v on the host per launch), replayed %v", nodes, launched, issued, time.Since(start)/rounds)
		return errors.Join(c.FreeGraph(g), c.Free(x), c.Free(y), c.FreeHost(b), c.DestroyStream(s))
	})
	start := time.Now()
	for range 1000 {
		do(t, dev, func(*driver.Context) error { return nil })
	}
	t.Logf("the way to the device's thread and back: %v", time.Since(start)/1000)
}

func TestGPUChecksALaunch(t *testing.T) {
	dev := openGPU(t)
	do(t, dev, func(c *driver.Context) error {
		f, s, err := axpy(c)
		if err != nil {
			return err
		}
		err = c.Launch(f, driver.Blocks(1, 32, s), arg(int32(1)))
		if _, ok := errors.AsType[*driver.ArgumentError](err); !ok {
			t.Errorf("one argument: %v (this driver may be too old to tell)", err)
		}
		if err := c.Launch(f, driver.Blocks(1, 2048, s), axpyArgs(0, 0, 0, 0)...); err == nil {
			t.Error("2048 threads in a block")
		}
		for _, a := range []driver.FunctionAttribute{driver.Registers, driver.PTXVersion, driver.BinaryVersion} {
			v, err := c.Attribute(f, a)
			if v == 0 || err != nil {
				t.Errorf("attribute %d: %d, %v", a, v, err)
			}
		}
		return c.Sync(s)
	})
}

func TestGPUErrorsSayWhatHappened(t *testing.T) {
	dev := openGPU(t)
	do(t, dev, func(c *driver.Context) error {
		_, err := c.Alloc(1 << 50)
		short, ok := errors.AsType[*driver.MemoryError](err)
		if !ok || short.Free <= 0 || short.Total != dev.Info().Total && short.Total < dev.Info().Total/2 {
			t.Errorf("a petabyte: %v", err)
		}
		t.Log(err)
		for name, ptx := range map[string]string{
			"broken":       strings.Replace(addPTX, "fma.rn.f32", "fma.rn.f99", 1),
			"other card":   strings.NewReplacer("sm_89", "sm_120a", "8.1", "8.8").Replace(addPTX),
			"newer driver": strings.Replace(addPTX, "8.1", "99.0", 1),
		} {
			_, err := c.LoadModule(name, []byte(ptx))
			if _, ok := errors.AsType[*driver.ModuleError](err); !ok {
				t.Errorf("%s: %v", name, err)
			}
			if name == "other card" && !strings.Contains(err.Error(), "it is not made for "+dev.Info().Name) && dev.Info().Major < 12 {
				t.Errorf("%s: %v", name, err)
			}
			t.Logf("%s: %v", name, err)
		}
		return c.SyncAll() // none of these ends the context
	})
}

func TestGPUCopiesAtTheBusSpeed(t *testing.T) {
	dev := openGPU(t)
	const size = 256 << 20
	do(t, dev, func(c *driver.Context) error {
		s, err := c.NewStream()
		if err != nil {
			return err
		}
		p, err := c.Alloc(size)
		if err != nil {
			return err
		}
		b, err := c.AllocHost(size)
		if err != nil {
			return err
		}
		pageable := make([]byte, size)
		rate := func(f func() error) (best float64) {
			for range 5 {
				start := time.Now()
				if err := errors.Join(f(), c.Sync(s)); err != nil {
					t.Error(err)
				}
				best = max(best, size/time.Since(start).Seconds()/1e9)
			}
			return best
		}
		t.Logf("GB/s: pinned in %.1f, pinned out %.1f, pageable in %.1f, pageable out %.1f, on the card %.0f",
			rate(func() error { return c.CopyIn(p, b, 0, size, s) }), rate(func() error { return c.CopyOut(b, 0, p, size, s) }),
			rate(func() error { return c.Write(p, pageable, s) }), rate(func() error { return c.Read(pageable, p, s) }),
			rate(func() error { return c.Copy(p, p.Add(size/2), size/2, s) }))
		return errors.Join(c.FreeHost(b), c.Free(p), c.DestroyStream(s))
	})
}

// TestGPULosesItsContext runs itself again, since a lost context is lost for the whole process.
func TestGPULosesItsContext(t *testing.T) {
	const inside = "FP8REWRITE_TEST_LOSE"
	if os.Getenv(inside) == "" {
		openGPU(t)
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	dev := openGPU(t)
	err := dev.Do(func(c *driver.Context) error {
		f, s, err := axpy(c)
		if err != nil {
			return err
		}
		if err := c.Launch(f, driver.Blocks(1, 32, s), axpyArgs(0x10, 0x10, 1, 32)...); err != nil {
			return err
		}
		err = c.Sync(s)
		if e, ok := errors.AsType[*driver.Error](err); !ok || e.Code != driver.CodeIllegalAddress || !e.Sticky() {
			t.Errorf("first: %v", err)
		}
		_, err = c.Alloc(1)
		return err
	})
	if _, ok := errors.AsType[*driver.LostError](err); !ok || dev.Lost() == nil {
		t.Errorf("later: %v", err)
	}
	t.Log(err)
}
