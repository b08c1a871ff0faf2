package specialize

import (
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func TestStaticModelsComputeWhatTheOriginalsDo(t *testing.T) {
	for _, c := range []struct {
		model, input, data string
		shapes             []tensor.Shape
	}{
		{"llama/model.onnx", "input_ids", "llama", []tensor.Shape{{1, 1}, {1, 128}, {3, 17}, {8, 64}}},
		{"gpt2/model.onnx", "input_ids", "gpt2", []tensor.Shape{{1, 1}, {1, 128}, {3, 17}, {8, 64}}},
		{"digits/digits_mlp.onnx", "image", "digits", []tensor.Shape{{1, 64}, {5, 64}}},
		{"digits/digits_cnn.onnx", "image", "digits", []tensor.Shape{{1, 64}, {5, 64}}},
	} {
		m := load(t, c.model)
		x := npz(t, c.data+"/data.npz", "eval_"+c.input)
		for _, s := range c.shapes {
			in := map[string]*tensor.Tensor{c.input: block(t, x, s[0], s[1])}
			start := time.Now()
			st := specialized(t, m, in)
			took := time.Since(start)
			want := run(t, m, runtime.Options{}, in).Values["logits"].Tensor
			got := run(t, st.Model, runtime.Options{}, in).Values["logits"].Tensor
			d := distance(t, want, got)
			t.Logf("%s %s: %.2g, in %v: %s", c.model, s, d, took, counts(st.Model))
			if !(d < 1e-5) {
				t.Errorf("%s %s: differs by %g", c.model, s, d)
			}
		}
	}
}
