package program

import (
	"context"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/specialize"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestSumsInFloat32 holds that a card whose float8 tensor cores keep fewer bits multiplies the codes in bfloat16 where sums in float32 are
// asked for, and says so.
func TestSumsInFloat32(t *testing.T) {
	m := converted(t, load(t, "digits/digits_mlp.onnx"), "i:del,w:del,go:del h16 max", rewrite.Float8Weights)
	st, err := specialize.Specialize(context.Background(), m, specialize.Options{Shapes: map[string]tensor.Shape{"image": {5, 64}}, Engine: cpu.New()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		major   int
		exact   bool
		decoded int
	}{{9, false, 0}, {9, true, 3}, {10, true, 0}} {
		p, err := Build(st, Options{Card: driver.Info{Name: "a card", Major: c.major}, Compute: kernels.F32, Exact: c.exact})
		if err != nil {
			t.Fatal(err)
		}
		sound(t, p)
		float8 := 0
		for _, s := range p.Steps {
			if strings.HasPrefix(s.Kernel, "matmul e4m3") {
				float8++
			}
		}
		if float8 != 3-c.decoded || len(p.Placed) != c.decoded {
			t.Errorf("capability %d, exact %v: %d products in float8, placed %+v", c.major, c.exact, float8, p.Placed)
		}
		for _, at := range p.Placed {
			if at.Where != "bfloat16" || !strings.Contains(at.Why, "14 bits") {
				t.Errorf("%+v", at)
			}
		}
	}
}
