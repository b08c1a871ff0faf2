package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/samples"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// tiny is a model of the same form that a processor runs in no time.
func tiny(d tensor.DType) llama {
	return llama{layers: 2, hidden: 32, intermediate: 48, heads: 4, dtype: d}
}

// TestTheModelIsALlama runs the generated model on the CPU engine, from its file and on its batches, against the formulas.
func TestTheModelIsALlama(t *testing.T) {
	for _, c := range []struct {
		dtype     tensor.DType
		tolerance float64 // largest error: float32's own, and a few roundings of values up to 4 to 8 bits
	}{{tensor.Float32, 1e-5}, {tensor.BFloat16, 8e-2}} {
		t.Run(c.dtype.String(), func(t *testing.T) {
			const rows, tokens = 2, 6
			l, dir := tiny(c.dtype), t.TempDir()
			if err := l.write(t.Context(), dir, rows, tokens); err != nil {
				t.Fatal(err)
			}
			file, err := onnxio.Open(filepath.Join(dir, "model.onnx"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			set, err := samples.Open(filepath.Join(dir, "batches.safetensors"), samples.Options{Model: file.Model.Graph.Inputs, BatchSize: rows})
			if err != nil {
				t.Fatal(err)
			}
			defer set.Close()
			batch, err := set.Step(0)
			if err != nil {
				t.Fatal(err)
			}
			s, err := cpu.New().Open(t.Context(), file.Model, runtime.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			res, err := s.Run(t.Context(), map[string]runtime.Value{"hidden_states": runtime.FromTensor(batch["hidden_states"])})
			if err != nil {
				t.Fatal(err)
			}
			weights := map[string][]float64{}
			for _, i := range file.Model.Graph.Initializers {
				if strings.HasSuffix(i.Name, ".weight") {
					weights[i.Name] = floats(t, i.Tensor)
				}
			}
			got, want := floats(t, res.Values["last_hidden_state"].Tensor), forward(l, weights, floats(t, batch["hidden_states"]), rows, tokens)
			worst, energy := 0.0, 0.0
			for i := range want {
				worst = max(worst, math.Abs(got[i]-want[i]))
				energy += want[i] * want[i]
			}
			if !(worst <= c.tolerance) || len(got) != len(want) {
				t.Errorf("largest error %g, want %g", worst, c.tolerance)
			}
			if rms := math.Sqrt(energy / float64(len(want))); rms < 0.5 || rms > 2 {
				t.Errorf("outputs of size %g, want about 1", rms)
			}
			if n := len(rewritable(file.Model)); n != 14 {
				t.Errorf("convert would rewrite %d layers, want 14", n)
			}
		})
	}
}

// rewritable are the layers that convert takes.
func rewritable(m *graph.Model) (names []string) {
	for _, l := range rewrite.Inspect(m).Layers {
		if l.Reason == nil && l.DType != "" {
			names = append(names, l.Name)
		}
	}
	return names
}

// forward is the model by its formulas.
func forward(l llama, w map[string][]float64, x []float64, rows, tokens int) []float64 {
	h, heads, head := int(l.hidden), int(l.heads), int(l.hidden/l.heads)
	n := rows * tokens
	linear := func(x []float64, name string, in, out int) []float64 {
		y := make([]float64, len(x)/in*out)
		for r := range len(x) / in {
			for k := range in {
				for c := range out {
					y[r*out+c] += x[r*in+k] * w[name+".weight"][k*out+c]
				}
			}
		}
		return y
	}
	norm := func(x []float64, name string) []float64 {
		y := make([]float64, len(x))
		for r := range n {
			sum := 0.0
			for c := range h {
				sum += x[r*h+c] * x[r*h+c]
			}
			for c := range h {
				y[r*h+c] = w[name+".weight"][c] * x[r*h+c] / math.Sqrt(sum/float64(h)+epsilon)
			}
		}
		return y
	}
	rotate := func(x []float64) []float64 {
		y := make([]float64, len(x))
		for r := range n {
			for a := range heads {
				v := x[r*h+a*head : r*h+(a+1)*head]
				for c := range head / 2 {
					sin, cos := math.Sincos(float64(r%tokens) * math.Pow(theta, -2*float64(c)/float64(head)))
					y[r*h+a*head+c] = v[c]*cos - v[c+head/2]*sin
					y[r*h+a*head+c+head/2] = v[c+head/2]*cos + v[c]*sin
				}
			}
		}
		return y
	}
	x = slices.Clone(x)
	for i := range int(l.layers) {
		p := "model.layers." + string(rune('0'+i)) + "."
		y := norm(x, p+"input_layernorm")
		q, k, v := rotate(linear(y, p+"self_attn.q_proj", h, h)), rotate(linear(y, p+"self_attn.k_proj", h, h)), linear(y, p+"self_attn.v_proj", h, h)
		mixed := make([]float64, n*h)
		for r := range n {
			first := r / tokens * tokens
			for a := range heads {
				var scores []float64
				sum := 0.0
				for s := first; s <= r; s++ {
					dot := 0.0
					for c := a * head; c < (a+1)*head; c++ {
						dot += q[r*h+c] * k[s*h+c]
					}
					scores = append(scores, math.Exp(dot/math.Sqrt(float64(head))))
					sum += scores[len(scores)-1]
				}
				for s, e := range scores {
					for c := a * head; c < (a+1)*head; c++ {
						mixed[r*h+c] += e / sum * v[(first+s)*h+c]
					}
				}
			}
		}
		add := func(y []float64) {
			for i := range x {
				x[i] += y[i]
			}
		}
		add(linear(mixed, p+"self_attn.o_proj", h, h))
		y = norm(x, p+"post_attention_layernorm")
		gate, up := linear(y, p+"mlp.gate_proj", h, int(l.intermediate)), linear(y, p+"mlp.up_proj", h, int(l.intermediate))
		for i := range gate {
			gate[i] *= up[i] / (1 + math.Exp(-gate[i]))
		}
		add(linear(gate, p+"mlp.down_proj", int(l.intermediate), h))
	}
	return norm(x, "model.norm")
}

// floats are the values of a float32 or bfloat16 tensor.
func floats(t *testing.T, x *tensor.Tensor) []float64 {
	t.Helper()
	b, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var v []float64
	for len(b) > 0 {
		if x.DType == tensor.BFloat16 {
			v = append(v, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b))<<16)))
			b = b[2:]
		} else {
			v = append(v, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			b = b[4:]
		}
	}
	return v
}

func TestModelsThatCannotBeAreRefused(t *testing.T) {
	for _, l := range []llama{{}, {layers: 1, hidden: 30, intermediate: 8, heads: 4, dtype: tensor.Float32}, {layers: 1, hidden: 12, intermediate: 8, heads: 4, dtype: tensor.Float32},
		{layers: 1, hidden: 32, intermediate: 8, heads: 4, dtype: tensor.Float16}} {
		if err := l.write(t.Context(), t.TempDir(), 1, 1); err == nil {
			t.Errorf("%+v: no error", l)
		}
	}
	if err := tiny(tensor.Float32).write(t.Context(), t.TempDir(), 0, 1); err == nil {
		t.Error("no rows: no error")
	}
}

func TestNoiseIsNormalAndTheSameEachTime(t *testing.T) {
	n := noise{elements: 1<<17 + 3, spread: 0.5, seed: 7, dtype: tensor.Float32}
	var a, b bytes.Buffer
	if _, err := n.WriteTo(&a); err != nil {
		t.Fatal(err)
	}
	if written, err := n.WriteTo(&b); err != nil || written != n.Size() {
		t.Errorf("%d bytes, want %d: %v", written, n.Size(), err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two writings differ")
	}
	sum, squares, beyond := 0.0, 0.0, 0
	v := floats(t, &tensor.Tensor{DType: tensor.Float32, Data: tensor.Bytes(a.Bytes())})
	for _, x := range v {
		sum += x
		squares += x * x
		if math.Abs(x) > 1 {
			beyond++ // two standard deviations
		}
	}
	count := float64(len(v))
	if mean, sd := sum/count, math.Sqrt(squares/count); math.Abs(mean) > 0.01 || math.Abs(sd-0.5) > 0.01 {
		t.Errorf("mean %g, standard deviation %g", mean, sd)
	}
	if part := float64(beyond) / count; math.Abs(part-0.0455) > 0.005 {
		t.Errorf("%.4f beyond two standard deviations, want 0.0455", part)
	}
	other := noise{elements: 16, spread: 0.5, seed: 8, dtype: tensor.Float32}
	var c bytes.Buffer
	if _, err := other.WriteTo(&c); err != nil || bytes.Equal(c.Bytes(), a.Bytes()[:64]) {
		t.Errorf("another seed gives the same: %v", err)
	}
}

func TestRoundedIsTheNearestBFloat16(t *testing.T) {
	for _, c := range []struct {
		v    float32
		want uint16
	}{{1, 0x3f80}, {-1, 0xbf80}, {0, 0}, {1 + 1./256, 0x3f80}, {1 + 3./256, 0x3f82}, {1 + 1./256 + 1./65536, 0x3f81}} {
		if got := rounded(c.v); got != c.want {
			t.Errorf("%v: %#x, want %#x", c.v, got, c.want)
		}
	}
}

func calibration(layers ...report.CalibratedLayer) *report.Calibration {
	return &report.Calibration{Layers: layers, Losses: []report.Float64{1.5, 1.25}}
}

func layer(name string, scale float32, amax ...report.Float32) report.CalibratedLayer {
	return report.CalibratedLayer{Name: name, Input: report.CalibratedOperand{Amax: amax, QuantScale: report.NewQuantScale([]float32{scale}, false)}}
}

func TestACalibrationIsHeldAgainstTheRecording(t *testing.T) {
	g, err := readRecording(filepath.Join("..", "..", "testdata", "models", "llama", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	// The recording itself, with one amax 2% and one loss 0.001 off.
	c := &report.Calibration{}
	names := []string{}
	for name := range g.Delayed.Steps[0].Layers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l := layer(name, 1)
		for _, s := range g.Delayed.Steps {
			l.Input.Amax = append(l.Input.Amax, report.Float32(s.Layers[name]["input"].Amax))
		}
		c.Layers = append(c.Layers, l)
	}
	for _, s := range g.Delayed.Steps {
		c.Losses = append(c.Losses, report.Float64(s.Loss))
	}
	c.Layers[3].Input.Amax[5] *= 1.02
	c.Losses[7] += 0.001
	amaxes, loss, err := g.against(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(amaxes); n != 29*8 || math.Abs(amaxes[n-1]-0.02) > 1e-6 || amaxes[n-2] > 1e-7 || math.Abs(loss-0.001) > 1e-9 {
		t.Errorf("%d amaxes, the largest errors %v, loss %v", n, amaxes[n-2:], loss)
	}
	c.Layers[0].Name = "other"
	if _, _, err := g.against(c); err == nil {
		t.Error("a layer that was not recorded is no error")
	}
	if _, _, err := g.against(calibration()); err == nil {
		t.Error("other steps are no error")
	}
}

func TestStatesAreComparedValueByValue(t *testing.T) {
	a, b := calibration(layer("a", 100, 1, 2), layer("b", 10, 4, 0)), calibration(layer("a", 101, 1, 2.5), layer("b", 10, 4, 0))
	d, err := states(a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := []float64{0, 0, 0, 0, 1. / 101, 0.2}
	if !slices.EqualFunc(d, want, func(x, y float64) bool { return math.Abs(x-y) < 1e-6 }) {
		t.Errorf("differences %v, want %v", d, want)
	}
	if s := share(d, 1e-2); math.Abs(s-5./6) > 1e-9 {
		t.Errorf("share %v, want 5/6", s)
	}
	if share(d, 1) != 1 || share(d, -1) != 0 {
		t.Error("all and none are not 1 and 0")
	}
	if _, err := states(a, calibration(layer("a", 1, 1, 2))); err == nil {
		t.Error("other layers are no error")
	}
	if !math.IsInf(relative(1, 0), 1) || !math.IsInf(relative(math.NaN(), 1), 1) || relative(0, 0) != 0 {
		t.Error("differences from zero and NaN")
	}
}

func TestTheTableSaysWhatIsMet(t *testing.T) {
	var b bytes.Buffer
	err := writeTable(&b, []row{below("time", 14.0764, 22, " ms"), above("speed", 3.2, 3.5, " TB/s"), shown("seen", 1234.5, ""), passed("tests", "all | of them"),
		failed("broken", io.ErrUnexpectedEOF)})
	if err != nil {
		t.Fatal(err)
	}
	const want = `| what | measured | bar | met |
|---|---|---|---|
| time | 14.08 ms | ≤ 22 ms | yes |
| speed | 3.2 TB/s | ≥ 3.5 TB/s | **no** |
| seen | 1234 |  |  |
| tests | all \| of them | passes | yes |
| broken | unexpected EOF | runs | **no** |

2 of 4 bars are met
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestChoosingParts(t *testing.T) {
	names := func(list string) string {
		p, err := choose(list)
		if err != nil {
			return err.Error()
		}
		var n []string
		for _, x := range p {
			n = append(n, x.name)
		}
		return strings.Join(n, " ")
	}
	all := names("all")
	if !strings.HasPrefix(all, "devices kernels torch model ratios ") || names("-torch,-devices") != strings.Replace(all, "devices kernels torch ", "kernels ", 1) {
		t.Errorf("all is %q, without two %q", all, names("-torch,-devices"))
	}
	if got := names("model,kernels"); got != "model kernels" {
		t.Errorf("got %q", got)
	}
	if got := names("model,motel"); !strings.Contains(got, `no part "motel"`) {
		t.Errorf("got %q", got)
	}
}

func TestLinesOfResults(t *testing.T) {
	got := map[string]float64{}
	if err := results("hello\n{\"name\": \"torch\", \"version\": \"2\"}\n{\"name\": \"a\", \"ms\": 1.5, \"wall_s\": 2}\n", got); err != nil || len(got) != 1 || got["a"] != 1.5 {
		t.Errorf("%v, %v", got, err)
	}
	for i, bad := range []string{"{\"name\": \"b\", \"error\": \"no memory\"}\n", "{nonsense\n"} {
		good := fmt.Sprintf("{\"name\": \"behind%d\", \"ms\": 3}\n", i)
		if err := results(bad+good, got); err == nil {
			t.Errorf("%q is no error", bad)
		}
		if got[fmt.Sprint("behind", i)] != 3 {
			t.Errorf("what stands behind %q was not read", bad)
		}
	}
}

// TestTheRatiosHaveTheirBars fills in what was measured and looks at the rows.
func TestTheRatiosHaveTheirBars(t *testing.T) {
	r := &runner{ours: map[string]float64{castName: 0.05, "float8linear 8192x8192x8192": 0.8, "float8linear 2048x4096x4096": 0.06, "llama float8 static": 14},
		theirs: map[string]float64{castName + " compiled": 0.1, "float8linear 8192x8192x8192 compiled": 0.72, "float8linear 2048x4096x4096 compiled": 0.06,
			"llama float8 static compiled": 14.7}}
	r.ratios(t.Context())
	got := map[string]row{}
	for _, x := range r.rows {
		got[x.What] = x
	}
	for what, want := range map[string]row{
		"fused cast + amax: torch.compile's time by ours":                    {Got: "2×", Bar: "≥ 1.5×", Met: true},
		"Float8Linear delayed, 8192x8192x8192: torch.compile's time by ours": {Got: "0.9×", Bar: "≥ 1×"},
		"Float8Linear delayed, 2048x4096x4096: torch.compile's time by ours": {Got: "1×", Met: true},
		"the same in float8 with static scales":                              {Got: "1.05×", Met: true},
		"torch: llama float8 static compiled":                                {Got: "14.7 ms", Met: true},
		"Float8Linear delayed, 4096x4096x4096: torch.compile's time by ours": {Got: "not measured", Bar: "≥ 1×"},
		"Float8Linear delayed, 8192x4096x4096: torch.compile's time by ours": {Got: "not measured", Met: true},
	} {
		want.What = what
		if got[what] != want {
			t.Errorf("%+v, want %+v", got[what], want)
		}
	}
	if len(r.rows) != 8 {
		t.Errorf("%d rows: %+v", len(r.rows), r.rows)
	}
}

func TestAnArchiveHoldsPrograms(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gpu"), []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pack(&b, dir, []string{"gpu"}); err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(zip)
	h, err := archive.Next()
	if err != nil || h.Name != "gpu" || h.Mode != 0o755 {
		t.Fatalf("%+v, %v", h, err)
	}
	if body, err := io.ReadAll(archive); err != nil || string(body) != "program" {
		t.Errorf("%q, %v", body, err)
	}
	if err := pack(io.Discard, dir, []string{"absent"}); err == nil {
		t.Error("a program that is not there is no error")
	}
}

func TestWhatTheCommandDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {"model"}, {"model", "-o", t.TempDir(), "--dtype", "int8"}, {"run", "--parts", "none"}, {"calibrate", "--device", "tpu"}} {
		if err := command(context.Background(), args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
