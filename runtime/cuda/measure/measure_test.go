package measure

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
)

// rig is a card that stands in for a GPU: its clock ticks with every event, and nothing is computed.
type rig struct {
	cuda, cublas *drivertest.Library
	dev          *driver.Device
	lt           *lt.Library
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{cuda: drivertest.CUDA(t).Use(driver.EnvCUDA), cublas: drivertest.CUBLASLt(t, "130102").Use(driver.EnvCUBLASLt)}
	found := driver.Find()
	api, err := found.Driver()
	if err != nil {
		t.Fatal(err)
	}
	if r.lt, err = lt.Open(found.CUBLASLt); err != nil {
		t.Fatal(err)
	}
	if r.dev, err = driver.Open(api, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.dev.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return r
}

// with runs f with a meter of three runs.
func (r *rig) with(f func(m *Meter) error) error {
	return r.dev.Do(func(c *driver.Context) error {
		m, err := New(c, r.lt, 3)
		if err != nil {
			return err
		}
		return errors.Join(f(m), m.Close())
	})
}

// count is how many lines of the log begin with a call.
func (r *rig) count(call string) (n int) {
	for _, line := range r.cuda.Log() {
		if line == call || strings.HasPrefix(line, call+" ") {
			n++
		}
	}
	return n
}

// measurements are all that a meter can do, small.
var measurements = []struct {
	name string
	run  func(m *Meter) (time.Duration, error)
}{
	{"copy", func(m *Meter) (time.Duration, error) { return m.Copy(1 << 16) }},
	{"cast and amax", func(m *Meter) (time.Duration, error) { return m.CastAmax(1 << 12) }},
	{"bfloat16 product", func(m *Meter) (time.Duration, error) { return m.BFloat16(16, 32, 48) }},
	{"float8 product", func(m *Meter) (time.Duration, error) { return m.Float8(16, 32, 48) }},
	{"Float8Linear", func(m *Meter) (time.Duration, error) { return m.Linear(16, 32, 48) }},
}

func TestMeasurementsGiveBackWhatTheyTake(t *testing.T) {
	r := newRig(t)
	before := r.cuda.Used()
	err := r.with(func(m *Meter) error {
		held := r.cuda.Used()
		for _, x := range measurements {
			took, err := x.run(m)
			if err != nil || took <= 0 {
				t.Errorf("%s: %v, %v", x.name, took, err)
			}
			if now := r.cuda.Used(); now != held {
				t.Errorf("%s: %d bytes are taken after it, %d before", x.name, now, held)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if now := r.cuda.Used(); now != before {
		t.Errorf("%d bytes are taken after the meter is closed, %d before it was made", now, before)
	}
	if made, gone := r.count("cuMemAlloc"), r.count("cuMemFree"); made == 0 || made != gone {
		t.Errorf("%d arrays taken, %d given back", made, gone)
	}
}

// TestAFailureIsToldAndLeavesNothing fails each call that a measurement makes, one after the other, in each measurement.
func TestAFailureIsToldAndLeavesNothing(t *testing.T) {
	r := newRig(t)
	if err := r.with(func(m *Meter) error {
		held := r.cuda.Used()
		for _, x := range measurements {
			for _, call := range []string{"cuMemAlloc_v2", "cuEventRecord", "cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuEventElapsedTime"} {
				r.cuda.Fail(call, 2, 0)
				_, err := x.run(m)
				if err == nil || !strings.Contains(err.Error(), "measure: "+x.name+": ") || !driver.IsOutOfMemory(err) {
					t.Errorf("%s, %s fails: error %v", x.name, call, err)
				}
				if now := r.cuda.Used(); now != held {
					t.Errorf("%s, %s fails: %d bytes are taken after it, %d before", x.name, call, now, held)
				}
				// The meter is good for the next measurement.
				if took, err := x.run(m); err != nil || took <= 0 {
					t.Errorf("%s after %s failed: %v, %v", x.name, call, took, err)
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAFailureToGiveBackIsTold(t *testing.T) {
	r := newRig(t)
	if err := r.with(func(m *Meter) error {
		r.cuda.Fail("cuMemFree_v2", 1, 0)
		if _, err := m.Copy(1 << 12); err == nil || !strings.Contains(err.Error(), "measure: copy: ") {
			t.Errorf("error %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAMeterThatCannotBeMadeLeavesNothing(t *testing.T) {
	r := newRig(t)
	for _, call := range []string{"cuMemAlloc_v2", "cuStreamCreate", "cuEventCreate"} {
		before := r.cuda.Used()
		r.cuda.Fail(call, 2, 0)
		if err := r.with(func(*Meter) error { return nil }); err == nil {
			t.Errorf("%s fails: no error", call)
		}
		if now := r.cuda.Used(); now != before {
			t.Errorf("%s fails: %d bytes are taken after it, %d before", call, now, before)
		}
	}
}

func TestCallsThatAreRecordedTogether(t *testing.T) {
	for products, want := range map[int64]int{8192 * 8192 * 8192: 2, 1 << 50: 1, 1: 50, 4096 * 4096 * 4096: 16} {
		if got := calls(products); got != want {
			t.Errorf("%d products: %d calls, want %d", products, got, want)
		}
	}
}
