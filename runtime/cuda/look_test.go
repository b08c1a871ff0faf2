package cuda

import (
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

func TestLookListsLibrariesAndCards(t *testing.T) {
	cuda := drivertest.CUDA(t).Use(driver.EnvCUDA)
	lib := drivertest.CUBLASLt(t, "130102").Use(driver.EnvCUBLASLt)
	cuda.Set("devices", 2)
	f := Look()
	if f.Err != nil || len(f.Libraries) != 2 || len(f.Cards) != 2 {
		t.Fatalf("%+v", f)
	}
	if l := f.Libraries[0]; l.Path != cuda.Path || l.Version != "13.0" || l.Err != nil {
		t.Errorf("libcuda: %+v", l)
	}
	if l := f.Libraries[1]; l.Path != lib.Path || l.Version != "13.1.2" || l.Err != nil {
		t.Errorf("libcublasLt: %+v", l)
	}
	for i, c := range f.Cards {
		if c.Index != i || !strings.HasPrefix(c.Name, "Fake GPU") || c.Major != 9 || c.SMs != 132 || c.Memory != 1<<30 || c.Free != 1<<30 || c.Err != nil {
			t.Errorf("card %d: %+v", i, c)
		}
	}
}

func TestLookSaysWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(t *testing.T, cuda *drivertest.Library)
		want string
	}{
		"no device":        {func(_ *testing.T, cuda *drivertest.Library) { cuda.Set("devices", 0) }, "no CUDA-capable device"},
		"a card too old":   {func(_ *testing.T, cuda *drivertest.Library) { cuda.Set("capability", 8, 6) }, "compute capability 8.6: float8 needs 8.9"},
		"a card in use":    {func(_ *testing.T, cuda *drivertest.Library) { cuda.Fail("cuDevicePrimaryCtxRetain", 101, 0) }, "cuDevicePrimaryCtxRetain"},
		"an old driver":    {func(_ *testing.T, cuda *drivertest.Library) { cuda.Set("version", 11080) }, "serves CUDA 11.8"},
		"no such function": {func(t *testing.T, _ *drivertest.Library) { t.Setenv(driver.EnvCUDA, "libc.so.6") }, "not CUDA's driver API"},
		"no libcublasLt":   {func(t *testing.T, _ *drivertest.Library) { t.Setenv(driver.EnvCUBLASLt, "/nowhere/lib.so") }, "/nowhere/lib.so"},
	} {
		t.Run(name, func(t *testing.T) {
			cuda := drivertest.CUDA(t).Use(driver.EnvCUDA)
			drivertest.CUBLASLt(t, "130102").Use(driver.EnvCUBLASLt)
			c.set(t, cuda)
			f := Look()
			text := ""
			for _, l := range f.Libraries {
				text += strings.Join(l.Looked, "\n")
			}
			if f.Err == nil || !strings.Contains(f.Err.Error()+text, c.want) {
				t.Errorf("%v, looked at %s; want %q", f.Err, text, c.want)
			}
			for _, card := range f.Cards {
				if card.Err == nil {
					t.Errorf("a card that can be used: %+v", card)
				}
			}
		})
	}
}
