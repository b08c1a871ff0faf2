package driver_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// addPTX is y[i] = a·x[i] + y[i] + b for i < n, where b comes as a struct{double b}.
const addPTX = `
.version 8.1
.target sm_89
.address_size 64
.visible .entry axpy(
	.param .u64 y,
	.param .u64 x,
	.param .f32 a,
	.param .u32 n,
	.param .align 8 .b8 b[8]
)
{
	.reg .pred %p;
	.reg .b32 %r<5>;
	.reg .f32 %f<5>;
	.reg .f64 %d;
	.reg .b64 %rd<5>;
	ld.param.u64 %rd0, [y];
	ld.param.u64 %rd1, [x];
	ld.param.f32 %f0, [a];
	ld.param.u32 %r0, [n];
	ld.param.f64 %d, [b];
	mov.u32 %r1, %ctaid.x;
	mov.u32 %r2, %ntid.x;
	mov.u32 %r3, %tid.x;
	mad.lo.s32 %r4, %r1, %r2, %r3;
	setp.ge.u32 %p, %r4, %r0;
	@%p bra DONE;
	cvta.to.global.u64 %rd0, %rd0;
	cvta.to.global.u64 %rd1, %rd1;
	mul.wide.u32 %rd2, %r4, 4;
	add.s64 %rd0, %rd0, %rd2;
	add.s64 %rd1, %rd1, %rd2;
	ld.global.f32 %f1, [%rd1];
	ld.global.f32 %f2, [%rd0];
	fma.rn.f32 %f3, %f0, %f1, %f2;
	cvt.rn.f32.f64 %f4, %d;
	add.f32 %f3, %f3, %f4;
	st.global.f32 [%rd0], %f3;
DONE:
	ret;
}
`

// arg is a number or an address as an argument.
func arg[T int32 | uint32 | int64 | driver.Ptr | float32 | float64](v T) driver.Arg {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return driver.Struct(b)
}

// axpyArgs are arguments for axpy.
func axpyArgs(y, x driver.Ptr, a float32, n uint32) []driver.Arg {
	return []driver.Arg{arg(y), arg(x), arg(a), arg(n), driver.Struct([]byte{0, 0, 0, 0, 0, 0, 0xe0, 0x3f})} // 0.5
}

func TestArgumentsArriveAsTheyAre(t *testing.T) {
	for name, lib := range standIns(t) {
		t.Run(name, func(t *testing.T) {
			dev := fakeDevice(t, lib)
			do(t, dev, func(c *driver.Context) error {
				m, err := c.LoadModule("add", []byte(addPTX))
				if err != nil {
					return err
				}
				f, err := c.Function(m, "axpy")
				if err != nil {
					return err
				}
				s, err := c.NewStream()
				if err != nil {
					return err
				}
				lib.Forget()
				args := axpyArgs(0x1122334455667788, 0xfedcba9876543210, 1.5, 0x80000001)
				l := driver.Launch{Grid: [3]uint32{7, 2, 3}, Block: [3]uint32{64, 4, 2}, Shared: 100, Stream: s}
				if err := c.Launch(f, l, args...); err != nil {
					return err
				}
				if err := c.Launch(f, driver.Blocks(0, 128, s), args...); err != nil {
					return err
				}
				// Twice above what every kernel may have: the limit is raised once.
				for _, shared := range []int{64 << 10, 60 << 10} {
					l.Shared = shared
					if err := c.Launch(f, l, args...); err != nil {
						return err
					}
				}
				const packed = " 8877665544332211 1032547698badcfe 0000c03f 01000080 000000000000e03f"
				want := []string{
					"cuLaunchKernel axpy 7,2,3 64,4,2 100 1 0:" + packed,
					"cuFuncSetAttribute 8 65536",
					"cuLaunchKernel axpy 7,2,3 64,4,2 65536 1 0:" + packed,
					"cuLaunchKernel axpy 7,2,3 64,4,2 61440 1 0:" + packed,
				}
				if log := lib.Log(); !slices.Equal(log, want) {
					t.Errorf("log\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
				}
				l.Shared = 300 << 10
				if err := c.Launch(f, l, args...); err == nil || !strings.Contains(err.Error(), "307200 bytes of shared memory, the card's blocks can have 232448") {
					t.Errorf("too much shared memory: %v", err)
				}
				return errors.Join(c.Unload(m), c.Unload(m), c.DestroyStream(s))
			})
		})
	}
}

func TestNumbersAsArguments(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	do(t, dev, func(c *driver.Context) error {
		m, err := c.LoadModule("numbers", []byte(".target sm_80\n.visible .entry k( .param .s32 a, .param .u32 b, .param .s64 c, .param .u64 d, .param .f32 e, .param .f64 f)"))
		if err != nil {
			return err
		}
		f, err := c.Function(m, "k")
		if err != nil {
			return err
		}
		lib.Forget()
		if err := c.Launch(f, driver.Blocks(1, 1, 0), arg(int32(-2)), arg(uint32(3)), arg(int64(-4)), arg(driver.Ptr(5)), arg(float32(-1)), arg(-2.0)); err != nil {
			return err
		}
		if want := "cuLaunchKernel k 1,1,1 1,1,1 0 0 0: feffffff 03000000 fcffffffffffffff 0500000000000000 000080bf 00000000000000c0"; !slices.Equal(lib.Log(), []string{want}) {
			t.Errorf("log %q, want %q", lib.Log(), want)
		}
		return nil
	})
}

func TestAStructArrivesWhole(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	do(t, dev, func(c *driver.Context) error {
		m, err := c.LoadModule("struct", []byte(".target sm_80\n.visible .entry k( .param .u32 n, .param .align 8 .b8 s[20])"))
		if err != nil {
			return err
		}
		f, err := c.Function(m, "k")
		if err != nil {
			return err
		}
		lib.Forget()
		if err := c.Launch(f, driver.Blocks(1, 1, 0), arg(uint32(7)), driver.Struct([]byte("twenty bytes of text"))); err != nil {
			return err
		}
		if want := fmt.Sprintf("cuLaunchKernel k 1,1,1 1,1,1 0 0 0: 07000000 %x", "twenty bytes of text"); !slices.Equal(lib.Log(), []string{want}) {
			t.Errorf("log %q, want %q", lib.Log(), want)
		}
		return nil
	})
}

func TestALaunchThatDoesNotFitIsRefused(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	do(t, dev, func(c *driver.Context) error {
		m, err := c.LoadModule("add", []byte(addPTX))
		if err != nil {
			return err
		}
		f, err := c.Function(m, "axpy")
		if err != nil {
			return err
		}
		lib.Forget()
		good := axpyArgs(1, 2, 3, 4)
		wide := slices.Clone(good)
		wide[2] = arg(3.0)
		for name, c1 := range map[string]struct {
			l    driver.Launch
			args []driver.Arg
			says string
		}{
			"an argument too few":  {driver.Blocks(1, 32, 0), good[:4], `kernel "axpy": 4 arguments, want 5`},
			"an argument too many": {driver.Blocks(1, 32, 0), append(slices.Clone(good), arg(int32(1))), `6 arguments, want 5`},
			"a double for a float": {driver.Blocks(1, 32, 0), wide, `argument 2 of 8 bytes, want 4`},
			"no threads":           {driver.Blocks(1, 0, 0), good, `0 threads in a block, want 1 to 1024`},
			"too many threads":     {driver.Blocks(1, 1025, 0), good, `1025 threads in a block, want 1 to 1024`},
		} {
			err := c.Launch(f, c1.l, c1.args...)
			if _, ok := errors.AsType[*driver.ArgumentError](err); !ok || !strings.Contains(err.Error(), c1.says) {
				t.Errorf("%s: %v, want %q", name, err, c1.says)
			}
		}
		if lib.Log() != nil {
			t.Errorf("calls %q", lib.Log())
		}
		return nil
	})
}

func TestAModuleThatCannotBeLoadedSaysWhy(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	for name, c := range map[string]struct{ ptx, says string }{
		"made for a newer card": {".version 8.1\n.target sm_100", `module "m": it is not made for Fake GPU 0 (compute capability 9.0): cuda: cuModuleLoadDataEx: a PTX JIT compilation failed (CUDA_ERROR_INVALID_PTX, 218): ptxas fatal : SM version`},
		"newer than the driver": {".version 99.0\n.target sm_80", `the NVIDIA driver is older than the kernels' PTX`},
		"not PTX":               {"nonsense", `a PTX JIT compilation failed (CUDA_ERROR_INVALID_PTX, 218): ptxas application ptx input, line 1; fatal : Missing .target directive`},
	} {
		err := dev.Do(func(ctx *driver.Context) error {
			_, err := ctx.LoadModule("m", []byte(c.ptx))
			return err
		})
		if _, ok := errors.AsType[*driver.ModuleError](err); !ok || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	// A cubin is machine code: the driver has a code of its own for one that is not the card's.
	lib.Fail("cuModuleLoadDataEx", driver.CodeNoBinary, 0)
	err := dev.Do(func(c *driver.Context) error {
		_, err := c.LoadModule("m", []byte("\x7fELF\x00"))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "it is not made for Fake GPU 0 (compute capability 9.0): cuda: cuModuleLoadDataEx: no kernel image") {
		t.Errorf("a cubin for another card: %v", err)
	}
	err = dev.Do(func(c *driver.Context) error {
		m, err := c.LoadModule("m", []byte(addPTX))
		if err != nil {
			return err
		}
		_, err = c.Function(m, "mul")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), `module "m: kernel mul"`) || !strings.Contains(err.Error(), "cuModuleGetFunction") {
		t.Errorf("a kernel that is not there: %v", err)
	}
}

func TestAGraphRecordsAndReplays(t *testing.T) {
	lib := standIn(t)
	dev := fakeDevice(t, lib)
	do(t, dev, func(c *driver.Context) error {
		m, err := c.LoadModule("add", []byte(addPTX))
		if err != nil {
			return err
		}
		f, err := c.Function(m, "axpy")
		if err != nil {
			return err
		}
		s, err := c.NewStream()
		if err != nil {
			return err
		}
		lib.Forget()
		g, err := c.Capture(s, func() error {
			return errors.Join(c.Launch(f, driver.Blocks(1, 32, s), axpyArgs(1, 2, 3, 4)...), c.Copy(1, 2, 3, s))
		})
		if errors.Is(err, driver.ErrNoGraphs) {
			t.Skip(err)
		}
		if err != nil {
			return err
		}
		if g.Nodes != 2 {
			t.Errorf("%d nodes, want 2", g.Nodes)
		}
		if err := errors.Join(c.Replay(g, s), c.FreeGraph(g), c.FreeGraph(g)); err != nil {
			return err
		}
		want := []string{"cuStreamBeginCapture 1 1", "", "cuMemcpyDtoDAsync 3", "cuStreamEndCapture 1", "cuGraphInstantiate 2 0", "cuGraphDestroy 2", "cuGraphLaunch 2 1", "cuGraphExecDestroy 2"}
		log := lib.Log()
		if len(log) > 1 && strings.HasPrefix(log[1], "cuLaunchKernel ") {
			log[1] = ""
		}
		if !slices.Equal(log, want) {
			t.Errorf("log %q, want %q", log, want)
		}

		// A recording that fails, whoever fails it, ends and leaves nothing.
		mine := errors.New("mine")
		lib.Forget()
		if _, err := c.Capture(s, func() error { return mine }); !errors.Is(err, mine) {
			t.Errorf("%v", err)
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = c.Capture(s, func() error { panic("mine") })
		}()
		want = []string{"cuStreamBeginCapture 1 1", "cuStreamEndCapture 1", "cuGraphDestroy 0", "cuStreamBeginCapture 1 1", "cuStreamEndCapture 1", "cuGraphDestroy 0"}
		if log := lib.Log(); !slices.Equal(log, want) {
			t.Errorf("log %q, want %q", log, want)
		}
		lib.Fail("cuGraphInstantiateWithFlags", 2, 0)
		if _, err := c.Capture(s, func() error { return nil }); !driver.IsOutOfMemory(err) {
			t.Errorf("a graph for which there is no memory: %v", err)
		}
		if _, err := c.Capture(0, func() error { return nil }); err == nil {
			t.Error("the default stream was captured")
		}
		return c.DestroyStream(s)
	})
}
