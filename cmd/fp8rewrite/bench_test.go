package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// profiled is an engine whose sessions answer with steps that were written down: for a Float8Linear a cast and a product, for another
// product with a constant one step, which an engine calls by its node.
type profiled struct {
	runtime.Backend
	ms map[string][2]float64 // of a layer: in float8 with its cast, and as it was
}

func (p profiled) Open(ctx context.Context, m *graph.Model, opt runtime.Options) (runtime.Session, error) {
	s, err := p.Backend.Open(ctx, m, opt)
	return profiledSession{s, m, p.ms}, err
}

type profiledSession struct {
	runtime.Session
	m  *graph.Model
	ms map[string][2]float64
}

func (s profiledSession) Placements() []runtime.Placement {
	return []runtime.Placement{{Node: "n", Op: "TopK", Where: "cpu", Why: "no kernel"}, {Node: "l", Op: "Float8Linear", Layer: "l", Where: "bfloat16", Why: "K is 30"}}
}

func (s profiledSession) Profile(ctx context.Context, inputs map[string]runtime.Value, runs int) (*runtime.Profile, error) {
	ms := func(f float64) time.Duration { return time.Duration(f * 1e6) }
	p := &runtime.Profile{Device: "card", Weights: 1 << 20, Arena: 1 << 10, Totals: []time.Duration{ms(3), ms(1), ms(2)}, Total: ms(2)}
	p.Steps = append(p.Steps, runtime.StepTime{Node: "norm", Op: "RMSNormalization", Kernel: "rms norm 128x256", Time: ms(0.5), Bytes: 1e6})
	for _, l := range rewrite.Inspect(s.m).Layers {
		times, ok := s.ms[l.Name]
		if !ok || l.DType == "" {
			continue
		}
		n, k := l.Shape[0], l.Shape[1]
		flops := 2 * 128 * float64(n) * float64(k)
		if l.Float8 != nil {
			p.Steps = append(p.Steps,
				runtime.StepTime{Node: l.Node, Op: "Float8Linear", Layer: l.Name, Kernel: fmt.Sprintf("cast e4m3 128x%d", k), Time: ms(times[0] / 4), Bytes: 1e6},
				runtime.StepTime{Node: l.Node, Op: "Float8Linear", Layer: l.Name, Kernel: fmt.Sprintf("matmul e4m3 128x%dx%d", n, k), Time: ms(times[0] * 3 / 4), FLOPs: flops, Bytes: 3e6})
			continue
		}
		p.Steps = append(p.Steps, runtime.StepTime{Node: l.Node, Op: "MatMul", Kernel: fmt.Sprintf("matmul bf16 128x%dx%d", n, k), Time: ms(times[1]), FLOPs: flops, Bytes: 6e6})
	}
	return p, nil
}

// TestBenchComparesLayersByName runs the command's own path on an engine that answers with recorded times.
func TestBenchComparesLayersByName(t *testing.T) {
	t.Parallel()
	file, err := onnxio.Open("../../testdata/models/llama/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	res, err := rewrite.Convert(t.Context(), file.Model, rewrite.Options{Recipe: recipeOf(t, "dynamic")})
	if err != nil {
		t.Fatal(err)
	}
	ms := map[string][2]float64{}
	for _, l := range rewrite.Inspect(res.Model).Layers {
		if l.Float8 == nil {
			continue
		}
		ms[l.Name] = [2]float64{1, 2} // twice as fast
		if min(l.Shape[0], l.Shape[1]) < 256 {
			ms[l.Name] = [2]float64{1, 0.5}
		}
	}
	dir := t.TempDir()
	converted := filepath.Join(dir, "m.fp8.onnx")
	if _, err := onnxio.Save(t.Context(), converted, res.Model, onnxio.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	opened, err := onnxio.Open(converted)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	e := &engine{asked: "cuda", compute: "bfloat16", card: "a card", places: &places{Backend: profiled{cpu.New(), ms}}}
	e.Backend = e.places
	var stdout, stderr bytes.Buffer
	o := &benchOptions{shapes: []string{"input_ids=2x64"}, against: "x", out: filepath.Join(dir, "b.json")}
	b := &benchmark{benchOptions: o, files: []*onnxio.File{opened, file}, backend: e, start: time.Now(), stdout: &stdout, stderr: &stderr}
	if err := b.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(o.out)
	if err != nil {
		t.Fatal(err)
	}
	r, err := reports.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	s := r.Bench
	if len(s.Layers) != 29 || s.Model.Median != 2 || s.Model.Fastest != 1 || s.Model.Slowest != 3 || s.Against == nil || s.Model.WeightBytes != 1<<20 {
		t.Fatalf("%d layers, model %+v", len(s.Layers), s.Model)
	}
	whose := map[string]int{}
	for _, p := range s.Execution.Placements {
		whose[p.Model]++
	}
	if len(whose) != 2 || whose["original"] != 2 || whose["rewritten"] != 2 || s.Execution.Compute != "bfloat16" || r.Volatile.Card != "a card" {
		t.Errorf("execution %+v, card %q", s.Execution, r.Volatile.Card)
	}
	for _, l := range s.Layers {
		want := ms[l.Name]
		switch {
		case l.Against == nil || l.Speedup == nil:
			t.Errorf("%s: not found in the other model", l.Name)
		case float64(l.Time) != want[0] || float64(*l.Against) != want[1] || float64(l.Matmul) != want[0]*3/4 || l.Keep != (want[1] < want[0]):
			t.Errorf("%s: %+v, want %v", l.Name, l, want)
		case l.Tokens != 128 || l.OutFeatures == 0 || l.Memory != 4 || l.OfCeiling != nil:
			t.Errorf("%s: %+v", l.Name, l)
		}
	}
	if names := []string{s.Model.Parts[0].Name, s.Model.Parts[1].Name, s.Model.Parts[2].Name}; !slices.Equal(names, []string{"matmul e4m3", "cast e4m3", "rms norm"}) {
		t.Errorf("parts %q", names)
	}
	// The narrow layers of the model are the projections of keys and values.
	a := s.Advice
	if a == nil || len(a.Keep) != 8 || !slices.Equal(a.Exclude, []string{"model.layers.*.self_attn.k_proj", "model.layers.*.self_attn.v_proj"}) {
		t.Fatalf("advice %+v", a)
	}
	if a.MinDim != 256 || a.CardMinDim != -1 || a.Saved != 4 {
		t.Errorf("advice %+v, want --min-dim 256 and 4 ms", a)
	}
	const said = "note: 1 node of the original model ran on the cpu; the report says why\n" +
		"note: 1 layer of the original model did not run in float8 products; the report says why\n" +
		"note: 1 node of the rewritten model ran on the cpu; the report says why\n" +
		"note: 1 layer of the rewritten model did not run in float8 products; the report says why\n" +
		"next: fp8rewrite convert ../../testdata/models/llama/model.onnx --exclude 'model.layers.*.self_attn.k_proj' --exclude 'model.layers.*.self_attn.v_proj' -o model.fp8.onnx\n"
	if stderr.String() != said {
		t.Errorf("stderr has %q, want %q", stderr.String(), said)
	}
}

func TestJudgeHoldsProductsAgainstTheirCeiling(t *testing.T) {
	number := func(f float64) *reports.Float64 { return new(reports.Float64(f)) }
	s := &reports.Bench{
		Ceilings: []reports.Ceiling{{Name: reports.CeilingFloat8, Value: 1000}, {Name: reports.CeilingBFloat16, Value: 500}},
		Layers: []reports.BenchedLayer{{Name: "a", Kernel: "matmul e4m3 8x8x8", Rate: 900}, {Name: "b", Kernel: "matmul bf16 8x8x8", Rate: 450},
			{Name: "c", Kernel: "matmul f32 8x8x8", Rate: 10}, {Name: "d", Kernel: "cpu"}},
	}
	judge(s, nil)
	for i, want := range []float64{0.9, 0.9, 0, 0} {
		got := s.Layers[i].OfCeiling
		if want == 0 && got != nil || want > 0 && (got == nil || float64(*got) != want) {
			t.Errorf("%s: %v, want %v", s.Layers[i].Name, got, want)
		}
	}
	if s.Advice != nil {
		t.Error("advice without a model to compare with")
	}
	s.Against = &reports.BenchedModel{}
	s.Layers[0].Against, s.Layers[0].Speedup, s.Layers[0].Time = number(2), number(2), 1
	judge(s, []string{"a", "b"})
	if s.Advice == nil || len(s.Advice.Keep) != 0 || len(s.Advice.Exclude) != 0 || s.Advice.MinDim != 0 {
		t.Errorf("advice %+v, want nothing to keep", s.Advice)
	}
}

func TestTheShapeRuleIsTheCheapest(t *testing.T) {
	layer := func(n, k int64, ms, against float64) reports.BenchedLayer {
		return reports.BenchedLayer{OutFeatures: n, InFeatures: k, Time: reports.Float64(ms), Against: new(reports.Float64(against)),
			Speedup: new(reports.Float64(against / ms))}
	}
	for _, c := range []struct {
		name   string
		layers []reports.BenchedLayer
		want   int64
	}{
		{"nothing is known", nil, 0},
		{"float8 wins everywhere", []reports.BenchedLayer{layer(64, 64, 1, 2), layer(512, 512, 1, 3)}, 0},
		{"small layers lose", []reports.BenchedLayer{layer(64, 512, 1, 0.5), layer(512, 512, 1, 2), layer(2048, 512, 3, 4)}, 512},
		{"all lose", []reports.BenchedLayer{layer(64, 64, 1, 0.5), layer(512, 512, 2, 1)}, 513},
		{"one that loses is not worth those that win", []reports.BenchedLayer{layer(64, 64, 1, 2), layer(512, 512, 1, 0.9)}, 0},
		{"layers without sizes do not count", []reports.BenchedLayer{layer(0, 0, 5, 1)}, 0},
	} {
		if got := shapeRule(c.layers); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestTheCardsRuleIsWhereAllLargerShapesWin(t *testing.T) {
	for _, c := range []struct {
		name     string
		speedups []reports.Float64 // at 256, 512 and 1024
		want     int64
	}{
		{"nothing was tried", nil, -1}, {"all win", []reports.Float64{1.1, 1.2, 1.3}, 0}, {"none wins", []reports.Float64{0.5, 0.6, 1}, -1},
		{"the large ones win", []reports.Float64{0.5, 1.01, 1.5}, 512}, {"a small one that wins alone", []reports.Float64{1.5, 0.9, 1.2}, 1024},
	} {
		s := &reports.Bench{}
		for i, v := range slices.Backward(c.speedups) { // the order does not count
			s.Shapes = append(s.Shapes, reports.BenchedShape{Features: 256 << i, Speedup: v})
		}
		if got := cardRule(s); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestPatternsMatchTheseLayersAndNoOther(t *testing.T) {
	all := []string{"l.0.q", "l.1.q", "l.10.q", "l.0.k", "l.1.k", "head", "a[1]", "a[2]", "x.0.norm.0.q"}
	for _, c := range []struct{ keep, want []string }{
		{nil, []string{}},
		{[]string{"head"}, []string{"head"}},
		{[]string{"l.0.k", "l.1.k"}, []string{"l.*.k"}},
		{[]string{"l.0.q", "l.1.q"}, []string{"l.0.q", "l.1.q"}},
		{[]string{"l.0.q", "l.1.q", "l.10.q"}, []string{"l.*.q"}},
		{[]string{"l.0.k"}, []string{"l.0.k"}},
		{[]string{"a[1]", "a[2]"}, []string{rewrite.Literal("a[1]"), rewrite.Literal("a[2]")}},
	} {
		got := patterns(c.keep, all)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %q, want %q", c.keep, got, c.want)
		}
		matched := []string{}
		for _, name := range all {
			for _, text := range got {
				p, err := rewrite.ParsePattern(text)
				if err != nil {
					t.Fatal(err)
				}
				if p.Match(name) {
					matched = append(matched, name)
					break
				}
			}
		}
		if len(matched) != len(c.keep) {
			t.Errorf("%q: they match %q", got, matched)
		}
	}
}

func TestKindsAndSizesOfKernels(t *testing.T) {
	for _, c := range []struct {
		kernel, kind string
		m, n, k      int64
	}{
		{"matmul e4m3 8192x4096x11008", "matmul e4m3", 8192, 4096, 11008}, {"cast e4m3 8192x4096", "cast e4m3", 0, 0, 0}, {"cpu", "cpu", 0, 0, 0},
		{"matmul bf16 2x3x4 + bias", "matmul bf16", 2, 3, 4}, {"rms norm", "rms norm", 0, 0, 0},
	} {
		m, n, k := sizes(c.kernel)
		if kind(c.kernel) != c.kind || m != c.m || n != c.n || k != c.k {
			t.Errorf("%q: kind %q, %d, %d, %d", c.kernel, kind(c.kernel), m, n, k)
		}
	}
}

func TestRandomInputsFollowTheDeclaredTypes(t *testing.T) {
	value := func(name string, d tensor.DType, dims ...graph.Dim) *graph.Value {
		return &graph.Value{Name: name, Type: &graph.Type{DType: d, HasShape: true, Shape: dims}}
	}
	open := func(param string) graph.Dim { return graph.Dim{Value: -1, Param: param} }
	m := &graph.Model{Graph: &graph.Graph{
		Inputs: []*graph.Value{value("ids", tensor.Int64, open("batch"), open("seq")), value("mask", tensor.Bool, open("batch"), open("seq")),
			value("x", tensor.BFloat16, open("batch"), graph.Dim{Value: 64}), value("h", tensor.Float16, graph.Dim{Value: 1000}), value("scalar", tensor.Float32)},
		Nodes:        []*graph.Node{{OpType: "Gather", Inputs: []string{"table", "ids"}, Outputs: []string{"e"}}},
		Initializers: []*graph.Initializer{{Name: "table", Tensor: tensor.Float32s(tensor.Shape{7, 1}, make([]float32, 7)...)}},
	}}
	got, err := randomInputs(m, []string{"ids=3x100"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]tensor.Shape{"ids": {3, 100}, "mask": {3, 100}, "x": {3, 64}, "h": {1000}, "scalar": {}} {
		if x := got[name]; x == nil || !x.Shape.Equal(want) {
			t.Errorf("%s: %v, want %v", name, x, want)
		}
	}
	ids, err := got["ids"].AsInt64s()
	if err != nil {
		t.Fatal(err)
	}
	if slices.Min(ids) != 0 || slices.Max(ids) != 6 {
		t.Errorf("indices from %d to %d, want those of a table of 7 rows", slices.Min(ids), slices.Max(ids))
	}
	h, err := got["h"].Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(h); i += 2 {
		bits := binary.LittleEndian.Uint16(h[i:])
		if a := math.Ldexp(1+float64(bits&0x3ff)/1024, int(bits>>10&31)-15); a < 0.25 || a >= 2 {
			t.Fatalf("a float16 of %v", a)
		}
	}
	again, err := randomInputs(m, []string{"ids=3x100"})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := got["x"].Bytes()
	b, _ := again["x"].Bytes()
	if !bytes.Equal(a, b) {
		t.Error("the same command gives other inputs")
	}
	for _, shapes := range [][]string{nil, {"ids=3"}, {"ids=3x4", "mask=3x5"}, {"ids=3x4", "x=3x65"}, {"nothing=1"}} {
		if _, err := randomInputs(m, shapes); err == nil {
			t.Errorf("%q: no error", shapes)
		}
	}
}

// TestTheListOfDevices shows a machine with two cards, of which one is too old.
func TestTheListOfDevices(t *testing.T) {
	d := devices{
		CPU: cpuDevice{16, "amd64"},
		CUDA: cudaDevice{Usable: true, Driver: "580.95.05", Libraries: []library{{Name: "libcuda", Found: true, Path: "/usr/lib/libcuda.so.1", Version: "13.0"},
			{Name: "libcublasLt", Found: true, Path: "/opt/libcublasLt.so.13", Version: "13.1.2"}},
			Cards: []card{{Device: "cuda:0", Name: "NVIDIA H200", Usable: true, Capability: "9.0", SMs: 132, Memory: 150_000_000_000, Free: 149_000_000_000},
				{Device: "cuda:1", Name: "Tesla\x1b T4", Error: "too old", Capability: "7.5", SMs: 40, Memory: 16 << 30}}},
		ORT: library{Name: "libonnxruntime", Error: "none was found", Looked: []string{"libonnxruntime.so: no such file"}},
	}
	var b bytes.Buffer
	if err := d.write(&b); err != nil {
		t.Fatal(err)
	}
	const want = `cpu     the embedded engine, 16 threads, amd64
cuda    NVIDIA driver 580.95.05
  libcuda for CUDA 13.0: /usr/lib/libcuda.so.1
  libcublasLt 13.1.2: /opt/libcublasLt.so.13
  cuda:0  NVIDIA H200, compute capability 9.0, 132 multiprocessors, 139.7 GiB (138.8 GiB free)
  cuda:1  Tesla\x1b T4, compute capability 7.5, 40 multiprocessors, 16.0 GiB
          cannot be used: too old
ort     cannot be used: none was found
  libonnxruntime is missing
    libonnxruntime.so: no such file
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
	b.Reset()
	if err := writeJSON(&b, d); err != nil {
		t.Fatal(err)
	}
	var back devices
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || !reflect.DeepEqual(back, d) {
		t.Errorf("reads back as %+v, %v", back, err)
	}
}

func TestAutoWithManyProcessesIsTheEmbeddedEngine(t *testing.T) {
	for _, c := range []struct {
		asked     string
		processes int
		compute   string // what is left of the GPU
	}{{"auto", 1, "float32"}, {"auto", 4, ""}, {"cuda", 4, "float32"}} {
		e := &engine{asked: c.asked, compute: "float32", card: "a card", places: &places{Backend: cpu.New()}}
		e.Backend = e.places
		e.share(c.processes)
		if e.compute != c.compute || (e.fallback != "") != (c.compute == "") || (e.card == "") != (c.compute == "") {
			t.Errorf("%s, %d processes: %+v", c.asked, c.processes, e)
		}
		var b bytes.Buffer
		for range 2 {
			e.tell(&b, &deviceOptions{})
		}
		if want := map[bool]string{true: "note: running on the cpu: 4 processes share the rows, which a GPU cannot\n"}[c.compute == ""]; b.String() != want {
			t.Errorf("%s, %d processes: says %q, want %q", c.asked, c.processes, b.String(), want)
		}
	}
}

func recipeOf(t *testing.T, text string) scaling.Recipe {
	t.Helper()
	r, err := scaling.DefaultRecipe().ParseModes(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
