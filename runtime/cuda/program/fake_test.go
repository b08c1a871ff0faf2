package program

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
)

// watch runs every step of a program against a GPU that does nothing but look: each buffer lies at an address of its own, and each address
// that a launch takes must lie in a buffer that the step names.
type watch struct {
	t       testing.TB
	where   string
	base    map[*Buffer]driver.Ptr
	at      map[driver.Ptr]*Buffer // by base / gap
	allowed []*Buffer
	asked   map[*Buffer]bool
	entries []kernels.Entry
	names   map[driver.FunctionHandle]kernels.Entry
	host    [][]byte
	counts  map[string]int // launches by the kernel's name
}

// gap is how far buffers lie apart: more than any has, and more than any number that is no address.
const gap = 1 << 40

func (w *watch) baseOf(buf *Buffer) driver.Ptr {
	if buf == nil {
		w.t.Errorf("%s: an address of no buffer", w.where)
		return 0
	}
	p, ok := w.base[buf]
	if !ok {
		p = driver.Ptr(len(w.base)+1) * gap
		w.base[buf], w.at[p/gap] = p, buf
	}
	w.asked[buf] = true
	return p
}

// touch is called for n bytes at p that a launch takes.
func (w *watch) touch(what string, p driver.Ptr, n int64) {
	buf := w.at[p/gap]
	if buf == nil {
		w.t.Errorf("%s: %s at %#x: no buffer lies there", w.where, what, uint64(p))
		return
	}
	if end := int64(p%gap) + n; end > buf.Bytes {
		w.t.Errorf("%s: %s ends %d bytes beyond a buffer of %d", w.where, what, end-buf.Bytes, buf.Bytes)
	}
	if !slices.Contains(w.allowed, buf) {
		w.t.Errorf("%s: %s lies in a buffer of %d bytes that the step does not name", w.where, what, buf.Bytes)
	}
}

// launches runs steps and returns how often each kernel was launched.
func launches(t testing.TB, p *Program) map[string]int {
	t.Helper()
	w := &watch{t: t, base: map[*Buffer]driver.Ptr{}, at: map[driver.Ptr]*Buffer{}, names: map[driver.FunctionHandle]kernels.Entry{},
		entries: kernels.Table(), counts: map[string]int{}}
	dev, err := driver.Open(w, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	err = dev.Do(func(c *driver.Context) error {
		set, err := kernels.New(c)
		if err != nil {
			return err
		}
		l := &Launcher{Context: c, Kernels: set, LT: w, Base: w.baseOf}
		for _, part := range []struct {
			name  string
			steps []Step
		}{{"setup", p.Setup}, {"step", p.Steps}} {
			for i, s := range part.steps {
				w.where = fmt.Sprintf("%s %d, %s of %q (%s)", part.name, i, s.Kernel, s.Node, s.Op)
				if (s.Launch == nil) != (s.Segment != nil) {
					t.Errorf("%s: launch and segment, or neither", w.where)
				}
				if s.Launch == nil {
					continue
				}
				w.allowed, w.asked = slices.Concat(s.Reads, s.Writes), map[*Buffer]bool{}
				if slices.Contains(w.allowed, nil) {
					t.Errorf("%s: names a nil buffer", w.where)
				}
				if err := s.Launch(l); err != nil {
					t.Errorf("%s: %v", w.where, err)
				}
				for _, buf := range w.allowed {
					if !w.asked[buf] {
						t.Errorf("%s: names a buffer of %d bytes that it does not use", w.where, buf.Bytes)
					}
				}
				for buf := range w.asked {
					if !slices.Contains(w.allowed, buf) {
						t.Errorf("%s: uses a buffer of %d bytes that it does not name", w.where, buf.Bytes)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.counts
}

// Plan, Matmul and Spread make a watch the Multiplier.
func (w *watch) Plan(_ *driver.Context, p lt.Problem) (*lt.Plan, error) {
	return &lt.Plan{Problem: p}, nil
}

func (w *watch) Matmul(_ *driver.Context, plan *lt.Plan, o lt.Operands, _ driver.Stream) error {
	q := plan.Problem
	w.counts["matmul "+q.X.String()]++
	span := func(m, n int, stride int64, t lt.Type) int64 {
		return (int64(max(q.Batch, 1)-1)*stride + int64(m)*int64(n)) * int64(t.Size())
	}
	vector := func(is bool, n int) int64 {
		if is {
			return 4 * int64(n)
		}
		return 4
	}
	for _, a := range []struct {
		name string
		p    driver.Ptr
		n    int64
		must bool
	}{
		{"x", o.X, span(q.M, q.K, q.XStride, q.X), true},
		{"w", o.W, span(q.N, q.K, q.WStride, q.W), true},
		{"y", o.Y, span(q.M, q.N, q.YStride, q.Y), true},
		{"scaleX", o.ScaleX, vector(q.Rows, q.M), q.X.Float8()},
		{"scaleW", o.ScaleW, vector(q.Channels, q.N), q.Channels},
		{"bias", o.Bias, int64(q.N * q.Bias.Size()), q.Bias != lt.None},
	} {
		switch {
		case a.p != 0:
			w.touch(a.name, a.p, a.n)
			if a.p%16 != 0 {
				w.t.Errorf("%s: %s is not aligned", w.where, a.name)
			}
		case a.must:
			w.t.Errorf("%s: no %s", w.where, a.name)
		}
	}
	return nil
}

func (w *watch) Spread(_ *driver.Context, dst, src driver.Ptr, n int, _ driver.Stream) error {
	w.touch("vector", dst, int64(4*n))
	w.touch("scale", src, 4)
	return nil
}

// The rest makes it a driver.Driver.

func (w *watch) Launch(f driver.FunctionHandle, _ driver.Launch, params []unsafe.Pointer) error {
	e := w.names[f]
	w.counts[e.Name]++
	args := unsafe.Slice((*byte)(params[0]), e.ArgBytes)
	for ; len(args) >= 8; args = args[8:] {
		if p := driver.Ptr(binary.LittleEndian.Uint64(args)); w.at[p/gap] != nil {
			w.touch("an address of "+e.Name, p, 1)
		}
	}
	return nil
}

func (w *watch) OnDevice(dst, src driver.Ptr, n int64, _ driver.Stream) error {
	w.touch("destination", dst, n)
	w.touch("source", src, n)
	return nil
}

func (w *watch) Set8(dst driver.Ptr, _ uint8, n int64, _ driver.Stream) error {
	w.touch("destination", dst, n)
	return nil
}

func (w *watch) Set32(dst driver.Ptr, _ uint32, n int64, _ driver.Stream) error {
	w.touch("destination", dst, 4*n)
	return nil
}

func (w *watch) Function(_ driver.ModuleHandle, name string) (driver.FunctionHandle, error) {
	i := slices.IndexFunc(w.entries, func(e kernels.Entry) bool { return e.Name == name })
	w.names[driver.FunctionHandle(i+1)] = w.entries[i]
	return driver.FunctionHandle(i + 1), nil
}

func (w *watch) AllocHost(n int64) (unsafe.Pointer, error) {
	b := make([]byte, n)
	w.host = append(w.host, b)
	return unsafe.Pointer(&b[0]), nil
}

func (w *watch) LoadModule([]byte) (driver.ModuleHandle, string, error) { return 1, "", nil }
func (w *watch) Describe(int) (driver.Info, error)                      { return hopper, nil }
func (w *watch) Attribute(driver.FunctionHandle, driver.FunctionAttribute) (int, error) {
	return 1024, nil
}
func (w *watch) Init() error                                                             { return nil }
func (w *watch) Version() (int, error)                                                   { return 13000, nil }
func (w *watch) Count() (int, error)                                                     { return 1, nil }
func (w *watch) Retain(int) error                                                        { return nil }
func (w *watch) Release(int) error                                                       { return nil }
func (w *watch) Memory() (int64, int64, error)                                           { return 1 << 30, 1 << 30, nil }
func (w *watch) Alloc(int64) (driver.Ptr, error)                                         { return gap, nil }
func (w *watch) Free(driver.Ptr) error                                                   { return nil }
func (w *watch) FreeHost(unsafe.Pointer) error                                           { return nil }
func (w *watch) ToDevice(driver.Ptr, unsafe.Pointer, int64, driver.Stream) error         { return nil }
func (w *watch) ToHost(unsafe.Pointer, driver.Ptr, int64, driver.Stream) error           { return nil }
func (w *watch) NewStream() (driver.Stream, error)                                       { return 1, nil }
func (w *watch) DestroyStream(driver.Stream) error                                       { return nil }
func (w *watch) SyncStream(driver.Stream) error                                          { return nil }
func (w *watch) WaitEvent(driver.Stream, driver.Event) error                             { return nil }
func (w *watch) SyncContext() error                                                      { return nil }
func (w *watch) NewEvent(bool) (driver.Event, error)                                     { return 1, nil }
func (w *watch) DestroyEvent(driver.Event) error                                         { return nil }
func (w *watch) RecordEvent(driver.Event, driver.Stream) error                           { return nil }
func (w *watch) SyncEvent(driver.Event) error                                            { return nil }
func (w *watch) Elapsed(driver.Event, driver.Event) (float32, error)                     { return 0, nil }
func (w *watch) UnloadModule(driver.ModuleHandle) error                                  { return nil }
func (w *watch) SetAttribute(driver.FunctionHandle, driver.FunctionAttribute, int) error { return nil }
