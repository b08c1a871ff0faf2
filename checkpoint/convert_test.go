package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// cases are the layouts with each granularity that they have.
var cases = []struct {
	layout  string
	weights layout.Granularity
}{
	{"float8-linear", layout.PerTensor}, {"compressed-tensors", layout.PerTensor}, {"compressed-tensors", layout.PerChannel},
	{"compressed-tensors", layout.PerBlock}, {"fp8", layout.PerTensor}, {"fp8", layout.PerBlock}, {"fp8-transformers", layout.PerTensor},
	{"fp8-transformers", layout.PerBlock}, {"modelopt", layout.PerChannel}, {"modelopt", layout.PerBlock}, {"comfy", layout.PerTensor},
	{"deepseek", layout.PerBlock},
}

// TestThereAndBackAgain restores what was converted and converts it again: the bytes are the same, for every number of workers, and each weight
// is the product of its code and its scale.
func TestThereAndBackAgain(t *testing.T) {
	t.Parallel()
	types := []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float32}
	if testing.Short() {
		types = types[:1]
	}
	for _, d := range types {
		in := saveDecoder(t, d)
		for _, c := range cases {
			t.Run(d.String()+" "+c.layout+" "+string(c.weights), func(t *testing.T) {
				opt := Options{Layout: find(t, c.layout), Weights: c.weights}
				out, _ := convert(t, in, opt, RunOptions{Workers: 1})
				first := tree(t, out)
				many, _ := convert(t, in, opt, RunOptions{Workers: 7})
				sameTree(t, "with seven workers", first, tree(t, many))
				r, err := NewRestoration(open(t, out), d)
				if err != nil {
					t.Fatal(err)
				}
				back := filepath.Join(t.TempDir(), "back")
				if _, err := r.Run(context.Background(), back, RunOptions{}); err != nil {
					t.Fatal(err)
				}
				near(t, open(t, in), open(t, back), open(t, out))
				again, _ := convert(t, back, opt, RunOptions{})
				sameDType := func(files map[string]string) map[string]string { // config.json says bfloat16 at first, whatever the weights are
					files[configFile] = strings.ReplaceAll(files[configFile], `"`+d.String()+`"`, `"bfloat16"`)
					return files
				}
				sameTree(t, "converted again", sameDType(first), sameDType(tree(t, again)))
			})
		}
	}
}

// near holds restored weights to half a float8 step at their place and half an ulp of their type.
func near(t *testing.T, before, back, codes *Source) {
	t.Helper()
	s := newScratch()
	for name, was := range before.tensors {
		is := back.tensors[name]
		if is == nil || is.DType != was.DType || !is.Shape.Equal(was.Shape) {
			t.Fatalf("tensor %q is not what it was", name)
		}
		a, _ := was.Bytes()
		b, _ := is.Bytes()
		code := codes.tensors[name]
		if !code.DType.IsFloat8() {
			if string(a) != string(b) {
				t.Errorf("tensor %q changed", name)
			}
			continue
		}
		from := append([]float32{}, s.widen(was.DType, a)...)
		to := s.widen(is.DType, b)
		q, _ := code.Bytes()
		for i, v := range from {
			value := math.Abs(float64(float8.E4M3FN(q[i]).Float32()))
			step := math.Max(math.Ldexp(1, int(math.Floor(math.Log2(math.Max(value, 0x1p-6))))-3), 0x1p-9)
			scale := 0.25 / 448 * 2 // an amax of these weights is below this
			if value >= 1 {
				scale = math.Abs(float64(to[i])) / value
			}
			if diff := math.Abs(float64(v) - float64(to[i])); diff > step/2*scale+math.Abs(float64(v))*0x1p-8 {
				t.Fatalf("tensor %q element %d: %v became %v, further than half a step of %v", name, i, v, to[i], step*scale)
			}
		}
	}
}

// TestCodesAreQuotients holds the fast product to the division that the formats ask for, for every bfloat16 and float16 and many scales.
func TestCodesAreQuotients(t *testing.T) {
	t.Parallel()
	scales := []float32{1.0 / 448, 1, 3, 1e-12 / 448, 0.1, 7, 0x1.fffffep-9, 5.3e-4, 1.75 / 448, 2.23e-15}
	more := 40
	if testing.Short() {
		more = 4
	}
	for i := range more {
		scales = append(scales, dequantScale(float32(i+1)/32), dequantScale(noise(uint64(i))(0)))
	}
	s := newScratch()
	products := 0
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		words := make([]uint16, 0, 1<<16)
		for w := range 1 << 16 {
			words = append(words, uint16(w))
		}
		src := make([]byte, 0, 1<<17)
		for _, w := range words {
			src = append(src, byte(w), byte(w>>8))
		}
		values := append([]float32{}, s.widen(d, src)...)
		codes := make([]byte, len(words))
		for _, q := range scales {
			if !(q > 0) {
				continue
			}
			by := dividing(d, q)
			if !by.divide {
				products++
			}
			var st float8.Stats
			s.cast(codes, src, d, by, &st)
			for i, v := range values {
				if v-v != 0 || v == 0 || math.Abs(float64(v))/float64(q) > 448 || math.Abs(float64(v)) < 1e-30 { // an amax bounds the quotient
					continue
				}
				if want := float8.E4M3FNFromFloat32(v/q, float8.Saturate); codes[i] != uint8(want) {
					t.Fatalf("%s %v / %v: code %#x, want %#x (product: %v)", d, v, q, codes[i], want, !by.divide)
				}
			}
		}
	}
	if products < len(scales) {
		t.Errorf("a product stood in for the division at %d of %d scales only", products, 2*len(scales))
	}
}

// TestScalesComeBack proves for every significand that an amax which went through its scale gives the scale again.
func TestScalesComeBack(t *testing.T) {
	t.Parallel()
	step := 1
	if testing.Short() {
		step = 101
	}
	for i := 1 << 23; i < 1<<24; i += step {
		s := dequantScale(float32(i))
		if back := dequantScale(448 * s); back != s {
			t.Fatalf("amax %d: scale %v came back as %v", i, s, back)
		}
	}
}

func reasonOf(t *testing.T, c *Conversion, module string) *report.Reason {
	t.Helper()
	for _, r := range c.Rows() {
		if r.Name == module {
			return r.Reason
		}
	}
	t.Fatalf("no row for %q", module)
	return nil
}

func code(r *report.Reason) report.ReasonCode {
	if r == nil {
		return ""
	}
	return r.Code
}

// TestANaNKeepsTheGroup lies in the second shard, and the first one already knows.
func TestANaNKeepsTheGroup(t *testing.T) {
	t.Parallel()
	shards := decoder(tensor.BFloat16)
	for i, x := range shards[1] {
		if x.Name == "model.layers.0.mlp.up_proj.weight" {
			n := noise(99)
			shards[1][i] = made(x.Name, x.DType, x.Shape, func(i int) float32 {
				if i == 77 {
					return float32(math.NaN())
				}
				return n(i)
			})
		}
	}
	in := filepath.Join(t.TempDir(), "model")
	saveFolder(t, in, llamaConfig, shards[0], shards[1])
	out, c := convert(t, in, Options{Layout: find(t, "compressed-tensors")}, RunOptions{})
	if got := reasonOf(t, c, "model.layers.0.mlp.up_proj"); code(got) != report.ReasonWeightNonfinite || !strings.Contains(got.Sentence, ": 1") {
		t.Errorf("the layer with a NaN: %+v", got)
	}
	if got := code(reasonOf(t, c, "model.layers.0.mlp.gate_proj")); got != report.ReasonGroupKept {
		t.Errorf("its sibling: %q", got)
	}
	if got := code(reasonOf(t, c, "model.layers.1.mlp.gate_proj")); got != "" {
		t.Errorf("the next block: %q", got)
	}
	if d := open(t, out).tensors["model.layers.0.mlp.gate_proj.weight"].DType; d != tensor.BFloat16 {
		t.Errorf("the sibling is %s in the output", d)
	}
	// float8-linear scales each layer by itself.
	_, c = convert(t, in, Options{Layout: find(t, "float8-linear")}, RunOptions{})
	if got := code(reasonOf(t, c, "model.layers.0.mlp.gate_proj")); got != "" {
		t.Errorf("float8-linear keeps the sibling: %q", got)
	}
}

func patterns(texts ...string) []Pattern {
	var list []Pattern
	for _, text := range texts {
		list = append(list, Pattern{text, func(name string) bool {
			ok, _ := filepath.Match(text, name)
			return ok
		}})
	}
	return list
}

// TestPatterns choose layers as the flags say.
func TestPatterns(t *testing.T) {
	t.Parallel()
	in := saveDecoder(t, tensor.BFloat16)
	const gate, up, q, head, embed = "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj", "lm_head", "model.embed_tokens"
	for _, c := range []struct {
		name             string
		layout           string
		include, exclude []Pattern
		want             map[string]report.ReasonCode
	}{
		{"nothing said", "fp8", nil, nil, map[string]report.ReasonCode{gate: "", q: "", head: report.ReasonLayerRole, embed: report.ReasonLayerRole}},
		{"a head is asked for beside the others", "compressed-tensors", patterns("lm_head"), nil, map[string]report.ReasonCode{gate: "", q: "", head: "", embed: report.ReasonLayerRole}},
		{"some layers alone", "fp8", patterns("*.mlp.*"), nil, map[string]report.ReasonCode{gate: "", q: report.ReasonNotIncluded, head: report.ReasonLayerRole}},
		{"an excluded layer keeps what it is joined with", "fp8", nil, patterns(up), map[string]report.ReasonCode{gate: report.ReasonGroupKept, up: report.ReasonExcluded, q: ""}},
		{"each by itself", "comfy", nil, patterns(up), map[string]report.ReasonCode{gate: "", up: report.ReasonExcluded}},
		{"no engine reads a float8 embedding", "compressed-tensors", patterns("*"), nil, map[string]report.ReasonCode{embed: report.ReasonLoaderRefuses, head: "", q: ""}},
		{"nor vLLM's fp8 a head", "fp8", patterns("lm_head"), nil, map[string]report.ReasonCode{head: report.ReasonLoaderRefuses, q: ""}},
		{"a pattern without a match leaves all out", "fp8", patterns("nothing"), nil, map[string]report.ReasonCode{gate: report.ReasonNotIncluded}},
	} {
		t.Run(c.name, func(t *testing.T) {
			conv, err := NewConversion(open(t, in), Options{Layout: find(t, c.layout), Include: c.include, Exclude: c.exclude})
			if err != nil {
				t.Fatal(err)
			}
			for module, want := range c.want {
				if got := code(reasonOf(t, conv, module)); got != want {
					t.Errorf("%s: %q, want %q", module, got, want)
				}
			}
		})
	}
}

// TestRefusals are found before anything is read.
func TestRefusals(t *testing.T) {
	t.Parallel()
	in := saveDecoder(t, tensor.BFloat16)
	conv1d := filepath.Join(t.TempDir(), "gpt2")
	saveFolder(t, conv1d, `{"model_type":"gpt2"}`, []safetensors.Tensor{made("h.0.attn.c_attn.weight", tensor.BFloat16, tensor.Shape{32, 96}, noise(1))})
	bare := filepath.Join(t.TempDir(), "bare.safetensors")
	saveFile(t, bare, made("fc1.weight", tensor.Float32, tensor.Shape{16, 32}, noise(2)))
	done, _ := convert(t, in, Options{Layout: find(t, "fp8")}, RunOptions{})
	doneFile, _ := convert(t, bare, Options{Layout: find(t, "comfy")}, RunOptions{})
	for _, c := range []struct {
		name, in, layout string
		weights          layout.Granularity
		tp               int64
		inputs           map[string]float32
		want             string
	}{
		{"Conv1D in an engine's layout", conv1d, "compressed-tensors", "", 1, nil, `layout compressed-tensors: layer "h.0.attn.c_attn": it is a Conv1D, whose weight is stored as [K, N], and the loader reads [N, K]`},
		{"heads that do not divide", in, "fp8", "", 3, nil, "layout fp8: 4 attention heads do not divide among 3 devices"},
		{"a granularity that the loader has not", in, "fp8", layout.PerChannel, 1, nil, "layout fp8: weight scales per channel: its loader reads scales per tensor or block"},
		{"settings without a place", bare, "fp8", "", 1, nil, "layout fp8: its settings stand in config.json, and the checkpoint has none"},
		{"static scales that are missing", in, "modelopt", layout.PerTensor, 1, nil, "layout modelopt: weight scales per tensor need a stored scale of each activation, and none are at hand"},
		{"layers that were not calibrated", in, "fp8", "", 1, map[string]float32{"model.layers.0.self_attn.q_proj": 2}, "the calibration has no amax of its input; layers without one: 11"},
		{"a folder that is converted", done, "fp8", "", 1, nil, `the checkpoint is quantized already: config.json has a quantization_config with quant_method "fp8"`},
		{"a file that is converted", doneFile, "comfy", "", 1, nil, `the checkpoint is quantized already: tensor "fc1.weight" is float8e4m3fn`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewConversion(open(t, c.in), Options{Layout: find(t, c.layout), Weights: c.weights, TensorParallel: c.tp, InputAmax: c.inputs})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestDevicesThatShareALayer keep what their shares cut through a block.
func TestDevicesThatShareALayer(t *testing.T) {
	t.Parallel()
	in := saveDecoder(t, tensor.BFloat16)
	for tp, want := range map[int64]string{1: "", 2: "with 2 devices each gets 64 of its outputs, which do not fill blocks of 128"} {
		c, err := NewConversion(open(t, in), Options{Layout: find(t, "deepseek"), TensorParallel: tp})
		if err != nil {
			t.Fatal(err)
		}
		r := reasonOf(t, c, "model.layers.0.self_attn.q_proj")
		if want == "" && r != nil || want != "" && (r == nil || !strings.Contains(r.Sentence, want)) {
			t.Errorf("tp %d: %+v, want %s", tp, r, want)
		}
		if r := reasonOf(t, c, "model.layers.0.mlp.gate_proj"); r != nil { // 256 outputs
			t.Errorf("tp %d: gate_proj: %s", tp, r.Sentence)
		}
	}
}

// TestHeadsAmongDevices refuses what no engine can divide, in the layouts whose engines divide.
func TestHeadsAmongDevices(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		heads, keys, devices int64
		layout, want         string
	}{
		{6, 3, 2, "fp8", "3 key and value heads neither divide among 2 devices nor repeat on them"},
		{6, 2, 3, "fp8", "2 key and value heads neither divide among 3 devices nor repeat on them"},
		{4, 2, 3, "fp8", "4 attention heads do not divide among 3 devices"},
		{8, 2, 4, "fp8", ""},
		{8, 4, 2, "fp8", ""},
		{4, 2, 3, "comfy", ""},
		{4, 2, 3, "float8-linear", ""},
	} {
		in := filepath.Join(t.TempDir(), "in")
		saveFolder(t, in, fmt.Sprintf(`{"model_type":"llama","num_attention_heads":%d,"num_key_value_heads":%d}`, c.heads, c.keys),
			[]safetensors.Tensor{made("l.mlp.gate_proj.weight", tensor.BFloat16, tensor.Shape{768, 768}, noise(1))})
		_, err := NewConversion(open(t, in), Options{Layout: find(t, c.layout), TensorParallel: c.devices})
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestLayersThatAreJoinedOnDisk end at a block's end, each of them.
func TestLayersThatAreJoinedOnDisk(t *testing.T) {
	t.Parallel()
	for head, want := range map[int64]string{64: "", 32: "it joins several layers, and the 64 outputs of one do not fill blocks of 128"} {
		in := filepath.Join(t.TempDir(), "in")
		saveFolder(t, in, `{"model_type":"phi3","num_attention_heads":4,"num_key_value_heads":2}`,
			[]safetensors.Tensor{made("l.self_attn.qkv_proj.weight", tensor.BFloat16, tensor.Shape{8 * head, 128}, noise(1))})
		c, err := NewConversion(open(t, in), Options{Layout: find(t, "fp8"), Weights: layout.PerBlock})
		if err != nil {
			t.Fatal(err)
		}
		r := reasonOf(t, c, "l.self_attn.qkv_proj")
		if want == "" && r != nil || want != "" && (r == nil || !strings.Contains(r.Sentence, want)) {
			t.Errorf("heads of %d: %+v, want %s", head, r, want)
		}
	}
}

// TestStaticScales are shared by layers that read one input.
func TestStaticScales(t *testing.T) {
	t.Parallel()
	in := saveDecoder(t, tensor.BFloat16)
	amaxes := map[string]float32{}
	c, err := NewConversion(open(t, in), Options{Layout: find(t, "compressed-tensors")})
	if err != nil {
		t.Fatal(err)
	}
	names, groups := c.Names()
	for i, name := range names {
		amaxes[name] = float32(i + 1)
	}
	if g := groups["model.layers.0.self_attn.q_proj"]; g == "" || g != groups["model.layers.0.self_attn.v_proj"] || g == groups["model.layers.1.self_attn.v_proj"] {
		t.Errorf("groups: %v", groups)
	}
	out, _ := convert(t, in, Options{Layout: find(t, "compressed-tensors"), InputAmax: amaxes}, RunOptions{})
	src := open(t, out)
	want := float32(0)
	for _, n := range []string{"q_proj", "k_proj", "v_proj"} {
		want = max(want, amaxes["model.layers.0.self_attn."+n])
	}
	for _, n := range []string{"q_proj", "k_proj", "v_proj"} {
		v, err := src.tensors["model.layers.0.self_attn."+n+".input_scale"].AsFloat32s()
		if err != nil || len(v) != 1 || v[0] != want/448 {
			t.Errorf("%s: input scale %v (%v), want %v", n, v, err, want/448)
		}
	}
	// The state of a float8-linear checkpoint is such a calibration.
	state, _ := convert(t, in, Options{Layout: find(t, "float8-linear"), InputAmax: amaxes}, RunOptions{})
	read, err := open(t, state).InputAmaxes()
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range amaxes {
		if read[name] != a {
			t.Errorf("%s: amax %v, want %v", name, read[name], a)
		}
	}
}

// TestTiedHeads are no layers of their own.
func TestTiedHeads(t *testing.T) {
	t.Parallel()
	tied := strings.Replace(llamaConfig, `"tie_word_embeddings":false`, `"tie_word_embeddings":true`, 1)
	shards := decoder(tensor.BFloat16)
	in := filepath.Join(t.TempDir(), "model")
	saveFolder(t, in, tied, append(shards[0], shards[1]...))
	c, err := NewConversion(open(t, in), Options{Layout: find(t, "fp8"), Include: patterns("lm_head")})
	if err != nil {
		t.Fatal(err)
	}
	if r := reasonOf(t, c, "lm_head"); code(r) != report.ReasonWeightTied || !strings.Contains(r.Sentence, `"model.embed_tokens.weight"`) {
		t.Errorf("got %+v", r)
	}
	if f := c.Folder(); len(f.Ignored) != 1 || f.Ignored[0] != "lm_head" {
		t.Errorf("ignored: %q", f.Ignored)
	}
}

// TestNothingIsLeftOfAFailure: a target that was there stays as it was.
func TestNothingIsLeftOfAFailure(t *testing.T) {
	t.Parallel()
	in := saveDecoder(t, tensor.BFloat16)
	parent := t.TempDir()
	out := filepath.Join(parent, "out")
	if err := os.MkdirAll(out, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, "mine"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := NewConversion(open(t, in), Options{Layout: find(t, "fp8")})
	if err != nil {
		t.Fatal(err)
	}
	var exists *ExistsError
	if _, err := c.Run(context.Background(), out, RunOptions{}); !errors.As(err, &exists) {
		t.Errorf("a folder that is not empty: %v", err)
	}
	// A tensor that the layout would add is there already: found when the shard is made.
	shards := decoder(tensor.BFloat16)
	taken := filepath.Join(t.TempDir(), "model")
	saveFolder(t, taken, llamaConfig, append(append(shards[0], shards[1]...), made("model.layers.1.mlp.up_proj.weight_scale", tensor.Float32, tensor.Shape{1}, noise(3))))
	bad, err := NewConversion(open(t, taken), Options{Layout: find(t, "fp8")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Run(context.Background(), out, RunOptions{Force: true}); err == nil || !strings.Contains(err.Error(), "which the layout would add") {
		t.Errorf("got %v", err)
	}
	sameTree(t, "after a failure", map[string]string{"out/mine": "x"}, tree(t, parent))
	if _, err := c.Run(context.Background(), out, RunOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if files := tree(t, parent); files["out/mine"] != "" || files["out/config.json"] == "" || files["out/sub/notes.txt"] != "as it is" {
		t.Errorf("--force leaves %d files", len(files))
	}
}
