package cpu

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

const models = "../../testdata/models"

func load(t testing.TB, path string) *graph.Model {
	t.Helper()
	f, err := onnxio.Open(filepath.Join(models, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Model
}

// npz reads one array of a test file; it knows the two forms that those have.
func npz(t testing.TB, path, array string) *tensor.Tensor {
	t.Helper()
	z, err := zip.OpenReader(filepath.Join(models, path))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open(array + ".npy")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	head := 10 + int(binary.LittleEndian.Uint16(b[8:]))
	var a, c int64
	if i := bytes.Index(b[:head], []byte("'shape': (")); i >= 0 {
		_, _ = fmt.Sscanf(string(b[i+10:head]), "%d, %d)", &a, &c)
	}
	shape := tensor.Shape{a, c}
	if c == 0 {
		shape = tensor.Shape{a}
	}
	d := tensor.Int64
	if bytes.Contains(b[:head], []byte("'<f4'")) {
		d = tensor.Float32
	}
	k, err := tensor.New(d, shape, tensor.Bytes(b[head:]))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rows are rows lo to hi of a matrix.
func rows(m *tensor.Tensor, lo, hi int64) *tensor.Tensor {
	b, _ := m.Bytes()
	row := int64(len(b)) / m.Shape[0]
	shape := m.Shape.Clone()
	shape[0] = hi - lo
	return &tensor.Tensor{DType: m.DType, Shape: shape, Data: tensor.Bytes(b[lo*row : hi*row])}
}

// crossEntropy sums −log p(label) over all positions.
func crossEntropy(logits, labels *tensor.Tensor) (sum float64, n int) {
	v, _ := logits.AsFloat32s()
	want, _ := labels.AsInt64s()
	classes := len(v) / len(want)
	for i, l := range want {
		row := v[i*classes : (i+1)*classes]
		most := math.Inf(-1)
		for _, x := range row {
			most = max(most, float64(x))
		}
		total := 0.0
		for _, x := range row {
			total += math.Exp(float64(x) - most)
		}
		sum += most + math.Log(total) - float64(row[l])
	}
	return sum, len(want)
}

func TestLanguageModelsReachTheirLoss(t *testing.T) {
	for name, want := range map[string]float64{"llama": 1.17172, "gpt2": 1.29441} {
		t.Run(name, func(t *testing.T) {
			if raw, err := os.ReadFile(filepath.Join(models, name, "golden.json")); err != nil {
				t.Fatal(err)
			} else {
				var golden struct {
					Loss float64 `json:"val_loss_f32"`
				}
				if err := json.Unmarshal(raw, &golden); err != nil || math.Abs(golden.Loss-want) > 1e-4 {
					t.Fatal(golden.Loss, err)
				}
				want = golden.Loss
			}
			s := open(t, load(t, name+"/model.onnx"), runtime.Options{})
			ids, labels := npz(t, name+"/data.npz", "eval_input_ids"), npz(t, name+"/data.npz", "eval_labels")
			sum, n := 0.0, 0
			for at := int64(0); at < 64; at += 16 {
				got := run(t, s, in{"input_ids": rows(ids, at, at+16)})["logits"].Tensor
				part, k := crossEntropy(got, rows(labels, at, at+16))
				sum, n = sum+part, n+k
			}
			if got := sum / float64(n); math.Abs(got-want) > 1e-5 {
				t.Errorf("loss %.6f, want %.6f", got, want)
			}
		})
	}
}

func TestDigitsAreRead(t *testing.T) {
	images, labels := npz(t, "digits/data.npz", "eval_image"), npz(t, "digits/data.npz", "eval_label")
	want, _ := labels.AsInt64s()
	for name, accuracy := range map[string]float64{"digits_mlp": 0.980, "digits_cnn": 0.987} {
		s := open(t, load(t, "digits/"+name+".onnx"), runtime.Options{})
		logits, err := run(t, s, in{"image": images})["logits"].Tensor.AsFloat32s()
		if err != nil {
			t.Fatal(err)
		}
		right := 0
		for i, l := range want {
			best := int64(0)
			for c := range int64(10) {
				if logits[int64(i)*10+c] > logits[int64(i)*10+best] {
					best = c
				}
			}
			if best == l {
				right++
			}
		}
		if got := float64(right) / float64(len(want)); math.Abs(got-accuracy) > 0.0006 {
			t.Errorf("%s: %.4f of the digits are right, want %.3f", name, got, accuracy)
		}
	}
}

// A worker of several sees a part of the batch: what it computes must have the bits of the whole.
func TestModelsGiveTheSameBitsForAnyBatchAndThreads(t *testing.T) {
	for _, name := range []string{"llama", "gpt2"} {
		m := load(t, name+"/model.onnx")
		ids := npz(t, name+"/data.npz", "eval_input_ids")
		one := run(t, open(t, m, runtime.Options{Threads: 1}), in{"input_ids": rows(ids, 0, 4)})["logits"].Tensor
		many := run(t, open(t, m, runtime.Options{Threads: 3}), in{"input_ids": rows(ids, 0, 4)})["logits"].Tensor
		part := run(t, open(t, m, runtime.Options{Threads: 2}), in{"input_ids": rows(ids, 1, 2)})["logits"].Tensor
		a, _ := one.Bytes()
		b, _ := many.Bytes()
		c, _ := part.Bytes()
		if !bytes.Equal(a, b) {
			t.Errorf("%s: three threads give other bits than one", name)
		}
		if !bytes.Equal(a[len(c):2*len(c)], c) {
			t.Errorf("%s: one row alone has other bits than among four", name)
		}
	}
}

// Planning must neither miss much nor ask for more than there is.
func TestThePlanIsNearThePeak(t *testing.T) {
	for _, name := range []string{"llama", "gpt2"} {
		s := open(t, load(t, name+"/model.onnx"), runtime.Options{})
		plan, err := s.Plan(map[string]tensor.Shape{"input_ids": {8, 128}})
		if err != nil {
			t.Fatal(err)
		}
		run(t, s, in{"input_ids": rows(npz(t, name+"/data.npz", "eval_input_ids"), 0, 8)})
		peak := s.(*session).arena.Peak()
		t.Logf("%s: plan %+v, peak %d", name, plan, peak)
		if plan.Unknown > 0 || plan.Activations < peak/2 || plan.Activations > 2*peak {
			t.Errorf("%s: plan %+v, the run took %d", name, plan, peak)
		}
	}
}

func BenchmarkLlama(b *testing.B) {
	s, err := New().Open(b.Context(), load(b, "llama/model.onnx"), runtime.Options{Threads: 2})
	if err != nil {
		b.Fatal(err)
	}
	inputs := in{"input_ids": rows(npz(b, "llama/data.npz", "eval_input_ids"), 0, 8)}.values()
	for b.Loop() {
		if _, err := s.Run(b.Context(), inputs); err != nil {
			b.Fatal(err)
		}
	}
}
