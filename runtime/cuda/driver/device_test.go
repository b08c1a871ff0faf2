package driver_test

import (
	"bytes"
	"errors"
	"math"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// fakeDevice is GPU 0 of a libcuda without a GPU.
func fakeDevice(t *testing.T, lib *drivertest.Library) *driver.Device {
	t.Helper()
	dev, err := driver.Open(load(t, lib), 0)
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

// do runs f on the device's thread and fails the test where f fails.
func do(t *testing.T, dev *driver.Device, f func(c *driver.Context) error) {
	t.Helper()
	if err := dev.Do(f); err != nil {
		t.Fatal(err)
	}
}

func TestDevicesTellsWhatTheMachineHas(t *testing.T) {
	lib := standIn(t)
	lib.Set("devices", 2)
	lib.Set("capability", 8, 9)
	d := load(t, lib)
	if v, err := d.Version(); v != 13000 || err != nil {
		t.Errorf("version %d, %v", v, err)
	}
	// The second context of the second card fails.
	lib.Fail("cuDevicePrimaryCtxRetain", 46, 1)
	infos, err := driver.Devices(d)
	if err != nil {
		t.Fatal(err)
	}
	want := driver.Info{Name: "Fake GPU 0", Major: 8, Minor: 9, SMs: 132, Total: 1 << 30, Free: 1 << 30, L2: 50 << 20, SharedPerBlock: 227 << 10}
	if len(infos) != 2 || infos[0] != want {
		t.Errorf("devices %+v, want two, the first %+v", infos, want)
	}
	if infos[1].Err == nil || infos[1].Ordinal != 1 || infos[1].Free != 0 {
		t.Errorf("the card without a context: %+v", infos[1])
	}
	if _, err := driver.Open(d, 2); err == nil || !strings.Contains(err.Error(), "device 2: the machine has 2") {
		t.Errorf("the third of two: %v", err)
	}
}

func TestNoDeviceIsCUDAsOwnError(t *testing.T) {
	if !startsWithoutDevice {
		t.Skip("a program with gorgonia.org/cu in it does not start where there is no GPU")
	}
	lib := standIn(t)
	lib.Set("devices", 0)
	d := load(t, lib)
	for _, err := range []error{func() error { _, err := driver.Devices(d); return err }(), func() error { _, err := driver.Open(d, 0); return err }()} {
		e, ok := errors.AsType[*driver.Error](err)
		if !ok || e.Code != driver.CodeNoDevice || e.Sticky() {
			t.Fatalf("%v", err)
		}
		if want := "cuda: cuInit: no CUDA-capable device is detected (CUDA_ERROR_NO_DEVICE, 100)"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestEveryCallComesFromOneThread(t *testing.T) {
	// The stand-in refuses calls from a thread that has no context, as CUDA does.
	dev := fakeDevice(t, standIn(t))
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if err := dev.Do(func(c *driver.Context) error {
				p, err := c.Alloc(64)
				if err != nil {
					return err
				}
				return c.Free(p)
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
}

func TestAPanicIsTheCallers(t *testing.T) {
	dev := fakeDevice(t, standIn(t))
	func() {
		defer func() {
			if v := recover(); v != "mine" {
				t.Errorf("recovered %v", v)
			}
		}()
		_ = dev.Do(func(*driver.Context) error { panic("mine") })
	}()
	do(t, dev, func(c *driver.Context) error { return c.SyncAll() })
}

func TestATestThatGivesUpLeavesTheDeviceUsable(t *testing.T) {
	dev := fakeDevice(t, standIn(t))
	done := make(chan bool)
	go func() {
		reached := false
		defer func() { done <- reached }()
		_ = dev.Do(func(*driver.Context) error { goruntime.Goexit(); return nil }) // as t.FailNow does
		reached = true
	}()
	if <-done {
		t.Error("Do returned")
	}
	do(t, dev, func(c *driver.Context) error { return c.SyncAll() })
}

func TestMemoryIsCopiedBothWays(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	do(t, dev, func(c *driver.Context) error {
		s, err := c.NewStream()
		if err != nil {
			return err
		}
		p, err := c.Alloc(32)
		if err != nil {
			return err
		}
		q, err := c.Alloc(32)
		if err != nil {
			return err
		}
		data := []byte("thirty-two bytes of no importanc")
		back := make([]byte, 32)
		if err := errors.Join(c.Write(p, data, s), c.Copy(q, p, 32, s), c.Set8(q, 'x', 2, s), c.Set32(q.Add(4), 0x61616161, 1, s), c.Read(back, q, s)); err != nil {
			return err
		}
		if want := "xx" + string(data[2:4]) + "aaaa" + string(data[8:]); string(back) != want {
			t.Errorf("%q, want %q", back, want)
		}
		b, err := c.AllocHost(64)
		if err != nil {
			return err
		}
		copy(b.Bytes()[8:], data)
		if err := errors.Join(c.CopyIn(q, b, 8, 32, s), c.CopyOut(b, 32, q, 32, s), c.Sync(s)); err != nil {
			return err
		}
		if !bytes.Equal(b.Bytes()[32:], data) {
			t.Errorf("pinned: %q", b.Bytes())
		}
		for _, span := range [][2]int64{{-1, 4}, {60, 5}, {65, 0}, {0, -1}, {math.MaxInt64, math.MaxInt64}} {
			if err := c.CopyIn(q, b, span[0], span[1], s); err == nil {
				t.Errorf("span %v was copied", span)
			}
		}
		if _, err := c.Alloc(-1); err == nil {
			t.Error("a negative allocation")
		}
		if p, err := c.Alloc(0); p != 0 || err != nil {
			t.Errorf("no bytes: %v, %v", p, err)
		}
		// Nothing is no call.
		lib.Forget()
		if err := errors.Join(c.Write(q, nil, s), c.Read(nil, q, s), c.Copy(q, p, 0, s), c.Set8(q, 0, 0, s), c.Set32(q, 0, 0, s), c.CopyIn(q, b, 64, 0, s), c.Free(0)); err != nil || lib.Log() != nil {
			t.Errorf("calls with nothing: %v, %v", err, lib.Log())
		}
		return errors.Join(c.FreeHost(b), c.FreeHost(b), c.Free(p), c.Free(q), c.DestroyStream(s))
	})
	if n := lib.Used(); n != 0 {
		t.Errorf("%d bytes are left", n)
	}
}

func TestShortMemoryTellsTheNumbers(t *testing.T) {
	lib := standIn(t)
	lib.Set("memory", 1000)
	dev := fakeDevice(t, lib)
	do(t, dev, func(c *driver.Context) error {
		p, err := c.Alloc(600)
		if err != nil {
			return err
		}
		_, err = c.Alloc(500)
		short, ok := errors.AsType[*driver.MemoryError](err)
		if !ok || short.Need != 500 || short.Free != 400 || short.Total != 1000 || !driver.IsOutOfMemory(err) {
			t.Errorf("%+v", err)
		}
		if want := "cuda: out of memory: 500 bytes of GPU memory are needed, 400 of 1000 are free"; err == nil || err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		if e, ok := errors.AsType[*driver.Error](err); !ok || e.Call != "cuMemAlloc" || e.Sticky() {
			t.Errorf("cause %+v", e)
		}
		lib.Fail("cuMemAllocHost_v2", 2, 0)
		_, err = c.AllocHost(77)
		if short, ok := errors.AsType[*driver.MemoryError](err); !ok || short.Need != 77 || short.Total != 0 {
			t.Errorf("%+v", err)
		}
		return c.Free(p)
	})
}

func TestALostContextIsToldFromThenOn(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	lib.Fail("cuStreamSynchronize", 700, 0)
	ran := false
	err := dev.Do(func(c *driver.Context) error {
		first := c.Sync(0)
		if e, ok := errors.AsType[*driver.Error](first); !ok || !e.Sticky() || e.Name != "CUDA_ERROR_ILLEGAL_ADDRESS" {
			t.Errorf("first: %v", first)
		}
		_, err := c.Alloc(1)
		return err
	})
	lost, ok := errors.AsType[*driver.LostError](err)
	if !ok || lost.First.Call != "cuStreamSynchronize" || !strings.Contains(err.Error(), "illegal memory access") {
		t.Errorf("later: %v", err)
	}
	lib.Forget()
	if err := dev.Do(func(*driver.Context) error { ran = true; return nil }); err == nil || ran || lib.Log() != nil {
		t.Errorf("afterwards: %v, ran %v, calls %v", err, ran, lib.Log())
	}
	if dev.Lost() == nil {
		t.Error("the device does not know")
	}
}

func TestAClosedDeviceRunsNothing(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	do(t, dev, func(c *driver.Context) error { return nil })
	lib.Forget()
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if log := lib.Log(); !slices.Contains(log, "cuDevicePrimaryCtxRelease 0") {
		t.Errorf("log %q", log)
	}
	if err := dev.Do(func(*driver.Context) error { return nil }); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}

func TestStreamsAndEventsAreCalledAsTold(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	lib.Forget()
	do(t, dev, func(c *driver.Context) error {
		s, err := c.NewStream()
		if err != nil {
			return err
		}
		a, err := c.NewEvent(true)
		if err != nil {
			return err
		}
		b, err := c.NewEvent(false)
		if err != nil {
			return err
		}
		if err := errors.Join(c.Record(a, s), c.Record(b, s), c.Wait(s, b), c.SyncEvent(b), c.Sync(s), c.SyncAll()); err != nil {
			return err
		}
		if ms, err := c.Elapsed(a, b); ms != 0.5 || err != nil {
			t.Errorf("elapsed %v, %v", ms, err)
		}
		return errors.Join(c.DestroyEvent(a), c.DestroyEvent(b), c.DestroyStream(s), c.DestroyStream(0), c.DestroyEvent(0))
	})
	want := []string{"cuStreamCreate 1", "cuEventCreate 0", "cuEventCreate 2", "cuEventRecord 1 1", "cuEventRecord 2 1", "cuStreamWaitEvent 1 2 0",
		"cuEventSynchronize 2", "cuStreamSynchronize 1", "cuCtxSynchronize", "cuEventDestroy 1", "cuEventDestroy 2", "cuStreamDestroy 1"}
	if log := lib.Log(); !slices.Equal(log, want) {
		t.Errorf("log\n%q, want\n%q", log, want)
	}
}
