package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/diff"
	"github.com/fp8rewrite/fp8rewrite/runtime/ort"
	"github.com/fp8rewrite/fp8rewrite/samples/npy"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// job is a model's way through the commands: convert, calibrate, verify, and their reports merged. What it does not say is as in the
// baseline.
type job struct {
	llama                      bool // else the digits
	convert, calibrate, verify []string
	edit                       func(t *testing.T, m *graph.Model) // the trained model
	damage                     func(t *testing.T, m *graph.Model) // the calibrated model, before it is verified
	data                       func(arrays map[string]*array)
	uncalibrated               bool                                   // what is verified is the converted model
	rewrite                    func(t *testing.T, r *reports.Report)  // each report, after it was made
	place                      func(t *testing.T, dir string) string  // where the files lie, below dir
	after                      func(t *testing.T, file string) string // another form of the report that is compared
	compress                   bool                                   // the data
	needs                      string                                 // an engine, whose kinds need not all be found
	diff                       []string                               // flags of the comparison
}

// array is rows of a .npy file.
type array struct {
	descr string
	shape []int64
	bytes []byte
}

func (a *array) row(i int) []byte {
	n := len(a.bytes) / int(a.shape[0])
	return a.bytes[i*n : (i+1)*n]
}

// floats changes the array's numbers.
func (a *array) floats(change func(i int, v float32) float32) {
	for i := 0; i < len(a.bytes); i += 4 {
		v := math.Float32frombits(binary.LittleEndian.Uint32(a.bytes[i:]))
		binary.LittleEndian.PutUint32(a.bytes[i:], math.Float32bits(change(i/4, v)))
	}
}

// trained are the models and data, of which llama's texts are cut short to take less time.
type trained struct {
	models [2]string
	arrays [2]map[string]*array
}

func readTrained(t *testing.T) *trained {
	t.Helper()
	w := &trained{models: [2]string{"../../testdata/models/digits/digits_mlp.onnx", "../../testdata/models/llama/model.onnx"}}
	for i, file := range []string{"../../testdata/models/digits/data.npz", "../../testdata/models/llama/data.npz"} {
		f, err := npy.OpenZip(file, npy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w.arrays[i] = map[string]*array{}
		for _, a := range f.Arrays {
			b, err := a.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			x := &array{shape: slices.Clone(a.Header.Shape)}
			elements := int64(1)
			for _, d := range x.shape {
				elements *= d
			}
			switch width := int64(len(b)) / elements; width {
			case 4:
				x.descr = "<f4"
			case 8:
				x.descr = "<i8"
			default:
				t.Fatalf("%s: elements of %d bytes", a.Name, width)
			}
			rows, row := min(x.shape[0], 64), int64(len(b))/x.shape[0]
			keep := row
			if i == 1 { // tokens
				keep = 8 * 24
				rows, x.shape[1] = 16, 24
			}
			x.shape[0] = rows
			for k := range rows {
				x.bytes = append(x.bytes, b[k*row:k*row+keep]...)
			}
			w.arrays[i][a.Name] = x
		}
	}
	return w
}

// run does the work in dir, and gives the report of a stage: convert, calibrate, verify or merge.
func (j *job) run(t *testing.T, w *trained, dir, stage string) string {
	t.Helper()
	if j.place != nil {
		dir = j.place(t, dir)
	}
	kind, labels := 0, "label"
	if j.llama {
		kind, labels = 1, "labels"
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	original, converted, calibrated := at("model.onnx"), at("model.fp8.onnx"), at("model.calibrated.onnx")
	copyFile(t, w.models[kind], original)
	if j.edit != nil {
		change(t, original, j.edit)
	}
	arrays := map[string]*array{}
	for name, a := range w.arrays[kind] {
		arrays[name] = &array{a.descr, slices.Clone(a.shape), slices.Clone(a.bytes)}
	}
	if j.data != nil {
		j.data(arrays)
	}
	j.writeData(t, at("data.npz"), arrays)
	do := func(want []int, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code := 0
		if j.needs == "cuda" { // hidden from this process
			code = withGPU(t, args, &stdout, &stderr)
		} else {
			code = run(args, strings.NewReader(""), &stdout, &stderr)
		}
		if !slices.Contains(want, code) {
			t.Fatalf("%v: exit status %d, want %v: %s", args, code, want, stderr.String())
		}
	}
	made := func(name string) {
		if j.rewrite != nil {
			r, err := readReport(at(name))
			if err != nil {
				t.Fatal(err)
			}
			j.rewrite(t, r)
			var b bytes.Buffer
			if err := reports.Encode(&b, r); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at(name), b.Bytes(), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	do([]int{exitDone}, append([]string{"convert", original, "-o", converted, "--report", at("convert.json"), "--quiet"}, j.convert...)...)
	made("convert.json")
	if stage != "convert" && !j.uncalibrated {
		do([]int{exitDone}, append([]string{"calibrate", converted, "-o", calibrated, "--data", at("data.npz"), "--prefix", "calib_", "--labels", labels,
			"--batch-size", "8", "--report", at("calibrate.json"), "--quiet"}, j.calibrate...)...)
		made("calibrate.json")
	}
	if stage == "verify" || stage == "merge" {
		judged := calibrated
		if j.uncalibrated {
			judged = converted
		}
		if j.damage != nil {
			change(t, judged, j.damage)
		}
		do([]int{exitDone, exitGate}, append([]string{"verify", original, judged, "--data", at("data.npz"), "--prefix", "eval_", "--labels", labels,
			"--max-loss-increase", "0.05", "--report", at("verify.json"), "--quiet"}, j.verify...)...)
		made("verify.json")
	}
	if stage == "merge" {
		do([]int{exitDone}, "report", "merge", at("convert.json"), at("calibrate.json"), at("verify.json"), "-o", at("merge.json"))
	}
	file := at(stage + ".json")
	if j.after != nil {
		file = j.after(t, file)
	}
	return file
}

// change opens a model, changes it and saves it in its place.
func change(t *testing.T, path string, do func(t *testing.T, m *graph.Model)) {
	t.Helper()
	file, err := onnxio.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	do(t, file.Model)
	changed := path + ".changed"
	err = save(changed, file.Model, false)
	file.Close()
	if err == nil {
		err = os.Rename(changed, path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// writeData writes arrays as an .npz file.
func (j *job) writeData(t *testing.T, path string, arrays map[string]*array) {
	t.Helper()
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		a := arrays[name]
		method := zip.Store
		if j.compress {
			method = zip.Deflate
		}
		entry, err := z.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: method})
		if err != nil {
			t.Fatal(err)
		}
		entry.Write(npyHeader(a.descr, strings.Trim(strings.ReplaceAll(fmt.Sprint(a.shape), " ", ","), "[]")+","))
		entry.Write(a.bytes)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
}

// weight finds an initializer of the main graph.
func weight(t *testing.T, m *graph.Model, name string) *graph.Initializer {
	t.Helper()
	for _, i := range m.Graph.Initializers {
		if i.Name == name {
			return i
		}
	}
	t.Fatalf("the model has no initializer %q", name)
	return nil
}

// numbers changes the numbers of a float32 initializer.
func numbers(name string, with func(v []float32)) func(*testing.T, *graph.Model) {
	return func(t *testing.T, m *graph.Model) {
		i := weight(t, m, name)
		v, err := i.Tensor.AsFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		v = slices.Clone(v)
		with(v)
		i.Tensor = tensor.Float32s(i.Tensor.Shape, v...)
	}
}

// largest is where the number of the largest magnitude stands.
func largest(v []float32) int {
	at := 0
	for i := range v {
		if math.Abs(float64(v[i])) > math.Abs(float64(v[at])) {
			at = i
		}
	}
	return at
}

// rename gives an initializer another name wherever it stands.
func rename(m *graph.Model, from, to string) {
	for _, i := range m.Graph.Initializers {
		if i.Name == from {
			i.Name = to
		}
	}
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		for k, in := range n.Inputs {
			if in == from {
				n.Inputs[k] = to
			}
		}
	})
}

// regression is one entry of the catalogue.
type regression struct {
	name  string
	stage string
	job   job
	// want are the beginnings of findings, "kind path", that have to be there; kinds are all kinds that are found.
	want  []string
	kinds string
}

// regressions are changes that a pipeline has to notice.
func regressions() []regression {
	const weight2 = "2.weight"
	set := func(flags ...string) job { return job{convert: flags} }
	llama := func(j job) job { j.llama = true; return j }
	swap := func(a *array, i, k int) {
		x, y := slices.Clone(a.row(i)), slices.Clone(a.row(k))
		copy(a.row(i), y)
		copy(a.row(k), x)
	}
	return []regression{
		// Other choices.
		{name: "a layer dropped by a filter", stage: "convert", job: set("--exclude", "2"), want: []string{`decision-changed layers["2"]`, "setting-changed settings.exclude"}, kinds: "decision-changed output-changed setting-changed state-changed totals-changed warning-changed"},
		{name: "layers of llama dropped by a filter", stage: "convert", job: llama(set("--exclude", "*down_proj")), want: []string{`decision-changed layers["model.layers.0.mlp.down_proj"]`}, kinds: "decision-changed output-changed setting-changed state-changed totals-changed warning-changed"},
		{name: "a filter that lets less in", stage: "convert", job: llama(set("--include", "*.mlp.*")), want: []string{`decision-changed layers["model.layers.0.self_attn.q_proj"]`}, kinds: "decision-changed output-changed setting-changed state-changed totals-changed warning-changed"},
		{name: "a rule for dimensions", stage: "convert", job: set("--multiple-of", "16"), want: []string{`decision-changed layers["4"]`, "setting-changed settings.multiple_of"}, kinds: "decision-changed output-changed setting-changed state-changed totals-changed warning-changed"},
		{name: "another history length", stage: "convert", job: set("--history-len", "4"), want: []string{"setting-changed settings.history_len"}, kinds: "output-changed setting-changed"},
		{name: "another history length, as calibration sees it", stage: "calibrate", job: set("--history-len", "4"), want: []string{"setting-changed settings.history_len"}, kinds: "figure-changed model-changed output-changed setting-changed"},
		{name: "another recipe", stage: "convert", job: llama(set("--recipe", "dynamic")), want: []string{"setting-changed settings.recipe"}, kinds: "change-added change-removed layer-changed output-changed setting-changed state-changed warning-removed"},
		{name: "inputs that are not cast", stage: "convert", job: set("--recipe", "i:off"), want: []string{"setting-changed settings.recipe", `layer-changed layers["0"].input_scaling`}, kinds: "change-added change-removed layer-changed output-changed setting-changed state-changed warning-removed"},
		{name: "a scale for each channel", stage: "convert", job: set("--per-channel"), want: []string{"setting-changed settings.per_channel", `layer-changed layers["0"].quant_scale.granularity`}, kinds: "figure-changed layer-changed output-changed setting-changed weight-changed"},
		{name: "scales that are powers of two", stage: "convert", job: set("--power-of-two"), want: []string{"setting-changed settings.power_of_two", `figure-changed layers["0"].quant_scale.min`}, kinds: "figure-changed output-changed setting-changed weight-changed"},
		{name: "a margin", stage: "convert", job: set("--margin", "1"), want: []string{"setting-changed settings.margin"}, kinds: "count-changed figure-changed output-changed setting-changed totals-changed weight-changed"},
		{name: "the most recent amax instead of the largest", stage: "calibrate", job: set("--amax-compute", "most_recent"), want: []string{"setting-changed settings.amax_compute", `figure-changed calibration.layers["2"].input.scale`}, kinds: "figure-changed model-changed output-changed setting-changed"},
		{name: "weights that stay as they were", stage: "convert", job: set("--weights", "original"), want: []string{"setting-changed settings.weights", `layer-changed layers["0"].dtype_after`}, kinds: "change-added change-removed count-changed figure-changed layer-changed output-changed setting-changed totals-changed warning-added weight-changed"},
		{name: "amaxes that became outputs", stage: "convert", job: set("--observe"), want: []string{"setting-changed settings.observe", "change-added changes["}, kinds: "change-added output-changed setting-changed"},
		{name: "weights in a file of their own", stage: "convert", job: llama(set("--external-data")), want: []string{"output-changed model.output.external_files[", "change-added changes["}, kinds: "change-added output-changed"},
		// Another model.
		{name: "a weight changed by one unit in the last place", stage: "convert", job: job{edit: numbers(weight2, func(v []float32) { v[7] = math.Nextafter32(v[7], 2) })}, want: []string{"model-changed model.input.sha256"}, kinds: "model-changed"},
		{name: "a weight of llama changed by one unit in the last place", stage: "convert", job: llama(job{edit: numbers("m.model.norm.weight", func(v []float32) { v[7] = math.Nextafter32(v[7], 2) })}), want: []string{"model-changed model.input.sha256"}, kinds: "model-changed output-changed"},
		{name: "a weight changed by a tenth", stage: "convert", job: job{edit: numbers(weight2, func(v []float32) { v[7] *= 1.1 })}, want: []string{"model-changed model.input.sha256", `weight-changed layers["2"].weight_xxh64`}, kinds: "model-changed output-changed weight-changed"},
		{name: "one weight changed by one part in a hundred", stage: "convert", job: job{edit: numbers(weight2, func(v []float32) { v[largest(v)] *= 1.01 })}, want: []string{"model-changed model.input.sha256", `figure-changed layers["2"].amax`}, kinds: "figure-changed model-changed output-changed weight-changed"},
		{name: "one weight of llama changed by one part in a hundred", stage: "convert", job: llama(job{edit: numbers("m.model.norm.weight", func(v []float32) { v[7] *= 1.01 })}), want: []string{"model-changed model.input.sha256"}, kinds: "model-changed output-changed"},
		{name: "all weights of a layer larger by one part in a hundred", stage: "convert", job: job{edit: numbers(weight2, func(v []float32) {
			for i := range v {
				v[i] *= 1.01
			}
		})}, want: []string{"model-changed model.input.sha256", `figure-changed layers["2"].amax`, `figure-changed layers["2"].quant_scale.min`}, kinds: "figure-changed model-changed output-changed"},
		{name: "a weight that stands out", stage: "convert", job: job{edit: numbers(weight2, func(v []float32) { v[7] = 50 })}, want: []string{`figure-changed layers["2"].amax`, `weight-changed layers["2"].weight_xxh64`}, kinds: "count-changed figure-changed model-changed output-changed totals-changed weight-changed"},
		{name: "a NaN in a weight", stage: "convert", job: job{edit: numbers(weight2, func(v []float32) { v[7] = float32(math.NaN()) })}, want: []string{`decision-changed layers["2"]`}, kinds: "decision-changed model-changed output-changed state-changed totals-changed warning-changed"},
		{name: "an infinity in a weight", stage: "convert", job: job{edit: numbers(weight2, func(v []float32) { v[7] = float32(math.Inf(1)) })}, want: []string{`decision-changed layers["2"]`}, kinds: "decision-changed model-changed output-changed state-changed totals-changed warning-changed"},
		{name: "a layer of zeros", stage: "convert", job: job{edit: numbers(weight2, func(v []float32) { clear(v) })}, want: []string{`figure-changed layers["2"].amax`, `weight-changed layers["2"].weight_xxh64`}, kinds: "count-changed figure-changed layer-changed model-changed output-changed totals-changed weight-changed"},
		{name: "a bias", stage: "convert", job: job{edit: numbers("2.bias", func(v []float32) { v[0]++ })}, want: []string{"model-changed model.input.sha256", "output-changed model.output.sha256"}, kinds: "model-changed output-changed"},
		{name: "a renamed node", stage: "convert", job: job{edit: func(_ *testing.T, m *graph.Model) { m.Graph.Nodes[2].Name = "/classifier/Gemm" }}, want: []string{`layer-changed layers["2"].node`}, kinds: "layer-changed model-changed output-changed"},
		{name: "another exporter's names", stage: "convert", job: job{edit: func(_ *testing.T, m *graph.Model) {
			for i, from := range []string{"0.weight", "2.weight", "4.weight"} {
				m.Graph.Nodes[2*i].Name = fmt.Sprintf("node_Gemm_%d", 2*i)
				rename(m, from, fmt.Sprintf("onnx::Gemm_%d", 11+i))
			}
		}}, want: []string{`layer-renamed layers["0"]`, `layer-renamed layers["2"]`, `layer-renamed layers["4"]`}, kinds: "layer-renamed model-changed output-changed"},
		{name: "a layer more", stage: "convert", job: job{edit: func(t *testing.T, m *graph.Model) {
			w := weight(t, m, weight2)
			m.Graph.Initializers = append(m.Graph.Initializers, &graph.Initializer{Name: "extra.weight", Tensor: w.Tensor})
			n := m.Graph.Nodes[2].Clone()
			n.Name, n.Inputs, n.Outputs = "/extra/Gemm", []string{n.Inputs[0], "extra.weight"}, []string{"extra"}
			m.Graph.Nodes = slices.Insert(m.Graph.Nodes, 3, n)
		}}, want: []string{`layer-added layers["extra"]`}, kinds: "layer-added model-changed output-changed state-changed totals-changed warning-changed"},
		{name: "a layer less", stage: "convert", job: job{edit: func(_ *testing.T, m *graph.Model) {
			next := m.Graph.Nodes[4] // the logits skip the second layer
			next.Inputs[0] = m.Graph.Nodes[1].Outputs[0]
			m.Graph.Nodes = slices.Delete(m.Graph.Nodes, 2, 4)
		}}, want: []string{`layer-removed layers["2"]`}, kinds: "layer-removed model-changed output-changed state-changed totals-changed warning-changed"},
		{name: "two layers of llama exchanged", stage: "convert", job: llama(job{edit: func(t *testing.T, m *graph.Model) {
			var projections []*graph.Node
			graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
				if n.Is("MatMul") && len(projections) < 2 {
					for _, i := range m.Graph.Initializers {
						if i.Name == n.Inputs[1] && slices.Equal(i.Tensor.Shape, tensor.Shape{256, 256}) {
							projections = append(projections, n)
							break
						}
					}
				}
			})
			if len(projections) != 2 {
				t.Fatal("two layers of one shape are not there")
			}
			a, b := projections[0], projections[1]
			a.Inputs[1], b.Inputs[1] = b.Inputs[1], a.Inputs[1]
		}}), want: []string{`weight-changed layers["model.layers.0.self_attn.q_proj"].weight_xxh64`}, kinds: "figure-changed layer-changed model-changed output-changed weight-changed"},
		{name: "another exporter", stage: "convert", job: job{edit: func(_ *testing.T, m *graph.Model) { m.ProducerVersion = "9.9" }}, want: []string{"model-changed model.input.producer"}, kinds: "model-changed output-changed"},
		// Other data, or another way over it.
		{name: "shuffled batches", stage: "calibrate", job: job{data: func(a map[string]*array) { swap(a["calib_image"], 0, 40); swap(a["calib_label"], 0, 40) }}, want: []string{"data-changed calibration.settings.data"}, kinds: "data-changed output-changed"},
		{name: "shuffled batches of llama", stage: "calibrate", job: llama(job{data: func(a map[string]*array) {
			swap(a["calib_input_ids"], 0, 9)
			swap(a["calib_labels"], 0, 9)
		}}), want: []string{"data-changed calibration.settings.data"}, kinds: "data-changed figure-changed output-changed"},
		{name: "labels that were shuffled", stage: "verify", job: job{data: func(a map[string]*array) {
			for i := range 20 {
				swap(a["eval_label"], i, 63-i)
			}
		}}, want: []string{`figure-changed verification.models["i:del,w:del,go:del h16 max"].original.loss`}, kinds: "figure-changed"},
		{name: "an input that stands out", stage: "calibrate", job: job{data: func(a map[string]*array) {
			a["calib_image"].floats(func(i int, v float32) float32 {
				if i == 64*30+9 {
					return 40
				}
				return v
			})
		}}, want: []string{`figure-changed calibration.layers["0"].input.amax[3]`, "data-changed calibration.settings.data"}, kinds: "data-changed figure-changed output-changed warning-added"},
		{name: "inputs that were not scaled", stage: "calibrate", job: job{data: func(a map[string]*array) {
			a["calib_image"].floats(func(_ int, v float32) float32 { return v * 16 })
		}}, want: []string{`figure-changed calibration.layers["0"].input.amax[`, `figure-changed calibration.layers["0"].input.quant_scale.min`}, kinds: "data-changed figure-changed output-changed"},
		{name: "fewer steps", stage: "calibrate", job: job{calibrate: []string{"--steps", "4"}}, want: []string{"setting-changed calibration.settings.steps"}, kinds: "count-changed figure-changed output-changed setting-changed"},
		{name: "larger batches", stage: "calibrate", job: job{calibrate: []string{"--batch-size", "16"}}, want: []string{"setting-changed calibration.settings.batch_size"}, kinds: "count-changed data-changed figure-changed output-changed setting-changed"},
		{name: "first scales of 1", stage: "calibrate", job: llama(job{calibrate: []string{"--no-amax-init"}}), want: []string{"setting-changed calibration.settings.amax_init"}, kinds: "figure-changed output-changed setting-changed"},
		{name: "scales that are frozen", stage: "calibrate", job: job{calibrate: []string{"--freeze"}}, want: []string{"setting-changed calibration.settings.freeze"}, kinds: "output-changed setting-changed"},
		{name: "larger batches to verify with", stage: "verify", job: job{verify: []string{"--batch-size", "16"}}, want: []string{"setting-changed verification.settings.batch_size"}, kinds: "data-changed setting-changed"},
		{name: "another limit", stage: "verify", job: job{verify: []string{"--max-loss-increase", "0.5"}}, want: []string{"setting-changed verification.settings.gates"}, kinds: "setting-changed"},
		// Another result.
		{name: "an uncalibrated model in place of the calibrated one", stage: "verify", job: job{uncalibrated: true}, want: []string{"state-changed state.calibrated", "figure-changed verification.models["}, kinds: "figure-changed file-renamed output-changed state-changed"},
		{name: "an uncalibrated llama in place of the calibrated one", stage: "verify", job: llama(job{uncalibrated: true}), want: []string{"state-changed state.calibrated", "figure-changed verification.models["}, kinds: "figure-changed file-renamed output-changed state-changed"},
		{name: "a scale inverted", stage: "verify", job: job{damage: numbers("2.fp8_scale_input", func(v []float32) { v[0] = 1 / v[0] })}, want: []string{"figure-changed verification.models["}, kinds: "figure-changed output-changed"},
		{name: "a scale of a weight inverted", stage: "verify", job: job{damage: numbers("2.fp8_scale_weight", func(v []float32) { v[0] = 1 / v[0] })}, want: []string{"figure-changed verification.models["}, kinds: "figure-changed gate-failed output-changed"},
		{name: "a NaN in a scale", stage: "verify", job: job{damage: numbers("2.fp8_scale_input", func(v []float32) { v[0] = float32(math.NaN()) })}, want: []string{"figure-not-finite verification.models[", "gate-failed verification.models["}, kinds: "figure-changed figure-not-finite gate-failed output-changed"},
		{name: "renamed layers, in all sections", stage: "merge", job: job{edit: func(_ *testing.T, m *graph.Model) {
			for i, from := range []string{"0.weight", "2.weight", "4.weight"} {
				m.Graph.Nodes[2*i].Name = fmt.Sprintf("node_Gemm_%d", 2*i)
				rename(m, from, fmt.Sprintf("onnx::Gemm_%d", 11+i))
			}
		}}, want: []string{`layer-renamed layers["0"]`, `layer-renamed layers["4"]`}, kinds: "layer-renamed model-changed output-changed"},
		{name: "a kept layer, in all sections", stage: "merge", job: set("--exclude", "2"), want: []string{`decision-changed layers["2"]`}, kinds: "decision-changed figure-changed output-changed setting-changed state-changed totals-changed"},
		{name: "an exchanged model that a GPU calibrated", stage: "merge", job: job{edit: numbers("2.bias", func(v []float32) { v[0]++ }), rewrite: func(_ *testing.T, r *reports.Report) {
			if r.Calibration != nil {
				r.Calibration.Settings.Device = "cuda:0"
			}
		}}, want: []string{"model-changed model.input.sha256", `output-changed sources["convert"].output_sha256`}, kinds: "device-changed model-changed output-changed output-rounded"},
		{name: "another model that a GPU verified", stage: "verify", job: job{damage: numbers("2.fp8_scale_input", func(v []float32) { v[0] *= 1.0001 }), rewrite: func(_ *testing.T, r *reports.Report) {
			if r.Verification != nil {
				r.Verification.Settings.Device = "cuda:0"
			}
		}}, want: []string{"output-changed model.output.sha256"}, kinds: "device-changed output-changed"},
		{name: "a merged report without its verification", stage: "merge", job: job{after: func(t *testing.T, file string) string {
			dir, out := filepath.Dir(file), filepath.Join(filepath.Dir(file), "two.json")
			if code := run([]string{"report", "merge", filepath.Join(dir, "convert.json"), filepath.Join(dir, "calibrate.json"), "-o", out}, nil, &bytes.Buffer{}, &bytes.Buffer{}); code != exitDone {
				t.Fatal(code)
			}
			return out
		}}, want: []string{`section-removed sources["verify"]`}, kinds: "section-removed"},
		{name: "the report of another job", stage: "convert", job: job{after: func(t *testing.T, file string) string {
			if code := run([]string{"calibrate", filepath.Join(filepath.Dir(file), "model.fp8.onnx"), "--data", filepath.Join(filepath.Dir(file), "data.npz"), "--prefix", "calib_", "-o",
				filepath.Join(filepath.Dir(file), "c.onnx"), "--report", filepath.Join(filepath.Dir(file), "c.json"), "--quiet"}, nil, &bytes.Buffer{}, &bytes.Buffer{}); code != exitDone {
				t.Fatal(code)
			}
			return filepath.Join(filepath.Dir(file), "c.json")
		}}, want: []string{"kind-mismatch kind"}, kinds: "file-renamed kind-mismatch model-changed setting-changed"},
	}
}

// harmless are changes that no pipeline should stop for.
func harmless() []regression {
	stages := func(name string, j job, kinds string, at ...string) []regression {
		var list []regression
		for _, s := range at {
			list = append(list, regression{name: name + ", " + s, stage: s, job: j, kinds: kinds})
		}
		return list
	}
	var list []regression
	for _, l := range []bool{false, true} {
		list = append(list, stages("the same again", job{llama: l}, "", "convert", "calibrate", "verify", "merge")...)
	}
	below := func(t *testing.T, dir string) string {
		d := filepath.Join(dir, "another folder", "näher am Ziel")
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
		return d
	}
	list = append(list, stages("another path", job{place: below}, "", "convert", "merge")...)
	list = append(list, stages("one thread", job{llama: true, calibrate: []string{"--threads", "1"}, verify: []string{"--threads", "1"}}, "", "calibrate", "verify")...)
	list = append(list, stages("three threads", job{llama: true, calibrate: []string{"--threads", "3"}, verify: []string{"--threads", "3"}}, "", "calibrate", "verify")...)
	list = append(list, stages("data that is compressed", job{compress: true}, "", "calibrate", "verify")...)
	list = append(list, stages("a checkpoint after every step", job{calibrate: []string{"--checkpoint-every", "1"}}, "", "calibrate")...)
	list = append(list, stages("a bound on memory", job{llama: true, calibrate: []string{"--max-memory", "1GB"}, verify: []string{"--max-memory", "1GB"}}, "", "calibrate", "verify")...)
	list = append(list, stages("another host, time and version", job{rewrite: func(_ *testing.T, r *reports.Report) {
		r.Volatile = reports.Volatile{Time: "2031-01-01T00:00:00Z", DurationSeconds: 99, Host: "elsewhere", OS: "plan9", Arch: "riscv64", Threads: 128, Version: "v9.9.9", GoVersion: "go1.99"}
	}}, "", "convert", "calibrate", "verify", "merge")...)
	list = append(list, stages("JSON of another form", job{after: func(t *testing.T, file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]json.RawMessage // which Go writes in the order of the alphabet
		if err := json.Unmarshal(b, &keys); err != nil {
			t.Fatal(err)
		}
		b, err = json.Marshal(keys)
		if err == nil {
			err = os.WriteFile(file, b, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		return file
	}}, "", "convert", "merge")...)
	list = append(list, stages("merged in another order", job{after: func(t *testing.T, file string) string {
		at := func(name string) string { return filepath.Join(filepath.Dir(file), name) }
		if code := run([]string{"report", "merge", at("verify.json"), at("calibrate.json"), file, at("convert.json"), "-o", at("again.json")}, nil, &bytes.Buffer{}, &bytes.Buffer{}); code != exitDone {
			t.Fatal(code)
		}
		return at("again.json")
	}}, "", "merge")...)
	// What a GPU's report would be: another device, sums in another order, a file whose scales differ in their last bits.
	gpu := func(_ *testing.T, r *reports.Report) {
		near := func(v float64, i int) float64 { return v * (1 + 1e-3*math.Sin(float64(i))) }
		if c := r.Calibration; c != nil {
			c.Settings.Device, c.Execution.Compute = "cuda:0", "float32"
			c.Execution.Placements = []reports.Placement{{Node: "/3/Relu", Op: "Relu", Where: "cpu", Why: "no kernel"}}
			for i := range c.Layers {
				o := &c.Layers[i].Input
				for k := range o.Amax {
					o.Amax[k] = reports.Float32(near(float64(o.Amax[k]), k))
					o.Scale[k] = reports.Float32(near(float64(o.Scale[k]), k+1))
				}
				o.Flushed = new(*o.Flushed + 1)
			}
		}
		if v := r.Verification; v != nil {
			v.Settings.Device = "cuda:0"
			for k := range v.Models[0].Layers {
				v.Models[0].Layers[k].SQNRdB += 0.04
				v.Models[0].Layers[k].MaxAbs = reports.Float64(near(float64(v.Models[0].Layers[k].MaxAbs), k))
			}
			v.Models[0].Rewritten.Loss = reports.Float64(near(float64(v.Models[0].Rewritten.Loss), 1) / 2 * 2)
		}
		if out := r.Model.Output; out != nil && r.Kind == reports.KindCalibrate {
			out.SHA256 = strings.Repeat("ab", 32)
		}
		r.Volatile.Card = "NVIDIA H200"
	}
	list = append(list, stages("the report of a GPU within tolerance", job{rewrite: gpu}, "device-changed output-rounded", "calibrate")...)
	list = append(list, stages("the report of a GPU within tolerance", job{rewrite: gpu}, "device-changed", "verify")...)
	// The engines that are here: another one's report, as it is.
	for _, e := range []struct{ name, device string }{{"ONNX Runtime", "ort"}, {"a GPU", "cuda"}} {
		flags := []string{"--device", e.device}
		for _, l := range []bool{false, true} {
			j := job{llama: l, calibrate: flags, verify: flags, needs: e.device}
			model := "digits"
			if l { // casts that round to the other neighbour in one layer move the amaxes of the next ones
				model, j.diff = "llama", []string{"--rel-tol", "amax=0.03,scale=0.03,error=0.2"}
			}
			list = append(list, stages(fmt.Sprintf("%s in place of the CPU, %s", e.name, model), j, "device-changed output-rounded", "calibrate", "merge")...)
		}
	}
	return list
}

// withGPU runs the program as a process of its own, which sees the machine's GPU.
func withGPU(t *testing.T, args []string, stdout, stderr io.Writer) (code int) {
	t.Helper()
	cmd := exec.Command("fp8rewrite", args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = os.Environ(), stdout, stderr
	if os.Getenv("FP8REWRITE_CUDA_LIB") == noGPU {
		cmd.Env = append(cmd.Env, "FP8REWRITE_CUDA_LIB=")
	}
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// absent says why an engine cannot be used here; "" where it can.
func absent(t *testing.T, device string) string {
	t.Helper()
	if device == "ort" {
		if os.Getenv(ort.EnvLibrary) == "" {
			return "$" + ort.EnvLibrary + " names no ONNX Runtime"
		}
		return ""
	}
	var list, stderr bytes.Buffer
	if code := withGPU(t, []string{"devices", "--json"}, &list, &stderr); code != 0 {
		t.Fatalf("devices: exit status %d: %s", code, stderr.String())
	}
	var d devices
	if err := json.Unmarshal(list.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d.CUDA.Error
}

// TestTheCatalogue makes the reports of each change through the commands, and compares them with the baseline's.
func TestTheCatalogue(t *testing.T) {
	t.Parallel()
	w := readTrained(t)
	var base [2]string
	for i, l := range []bool{false, true} {
		base[i] = t.TempDir()
		(&job{llama: l}).run(t, w, base[i], "merge")
	}
	leaveOut := func(t *testing.T, c *regression) {
		if testing.Short() && c.job.llama {
			t.Skip("-short: the digits alone")
		}
		if c.job.needs != "" {
			if why := absent(t, c.job.needs); why != "" {
				t.Skip("SKIPPED: " + why)
			}
		}
	}
	compare := func(t *testing.T, c *regression) (code int, lines, kinds []string, said, file string) {
		t.Helper()
		k := 0
		if c.job.llama {
			k = 1
		}
		file = c.job.run(t, w, t.TempDir(), c.stage)
		var stdout, stderr bytes.Buffer
		code = run(append([]string{"diff", filepath.Join(base[k], c.stage+".json"), file, "--json"}, c.job.diff...), strings.NewReader(""), &stdout, &stderr)
		var doc struct {
			Failed   bool
			Findings []struct{ Kind, Severity, Path string }
		}
		if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil {
			t.Fatalf("%v: %s", err, stderr.String())
		}
		if doc.Failed != (code == exitGate) {
			t.Errorf("failed is %v, the exit status %d", doc.Failed, code)
		}
		for _, f := range doc.Findings {
			lines = append(lines, f.Kind+" "+f.Path)
			if !slices.Contains(kinds, f.Kind) {
				kinds = append(kinds, f.Kind)
			}
		}
		slices.Sort(kinds)
		return code, lines, kinds, stderr.String(), file
	}
	var list []regression
	list = regressions()
	if len(list) < 25 {
		t.Errorf("%d regressions", len(list))
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			leaveOut(t, &c)
			code, lines, kinds, said, _ := compare(t, &c)
			if code != exitGate || !strings.HasPrefix(said, "fp8rewrite: the reports differ: ") {
				t.Errorf("exit status %d, stderr %q", code, said)
			}
			for _, w := range c.want {
				if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, w) }) {
					t.Errorf("no finding %s among\n  %s", w, strings.Join(lines[:min(len(lines), 30)], "\n  "))
				}
			}
			if got := strings.Join(kinds, " "); got != c.kinds {
				t.Errorf("found are the kinds\n  %s\nwant\n  %s", got, c.kinds)
			}
		})
	}
	list = harmless()
	if len(list) < 10 {
		t.Errorf("%d harmless changes", len(list))
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			leaveOut(t, &c)
			code, lines, kinds, said, file := compare(t, &c)
			if code != exitDone {
				t.Errorf("exit status %d, stderr %q", code, said)
			}
			if c.job.needs != "" { // whether its sums round otherwise the engine decides
				allowed := strings.Fields(c.kinds)
				if !slices.Contains(kinds, string(diff.DeviceChanged)) || slices.ContainsFunc(kinds, func(k string) bool { return !slices.Contains(allowed, k) }) {
					t.Errorf("found are the kinds %q, want device-changed and none but %q:\n  %s", kinds, c.kinds, strings.Join(lines[:min(len(lines), 30)], "\n  "))
				}
				return
			}
			if got := strings.Join(kinds, " "); got != c.kinds {
				t.Errorf("found are the kinds %q, want %q:\n  %s", got, c.kinds, strings.Join(lines[:min(len(lines), 30)], "\n  "))
			}
			if c.job.rewrite != nil || c.job.after != nil {
				return
			}
			// The same work gives the same bytes, but for what is volatile.
			was, is := base[0], filepath.Dir(file)
			if c.job.llama {
				was = base[1]
			}
			for _, name := range []string{c.stage + ".json", "model.fp8.onnx", "model.calibrated.onnx"} {
				a, errA := os.ReadFile(filepath.Join(was, name))
				b, errB := os.ReadFile(filepath.Join(is, name))
				if errB != nil && strings.HasPrefix(name, "model.calibrated") && c.stage == "convert" {
					continue
				}
				if errA != nil || errB != nil {
					t.Fatal(errA, errB)
				}
				a, _, _ = bytes.Cut(a, []byte("\n  \"volatile\": {"))
				b, _, _ = bytes.Cut(b, []byte("\n  \"volatile\": {"))
				if !bytes.Equal(a, b) {
					t.Errorf("%s: other bytes", name)
				}
			}
		})
	}
}
