package onnxio

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// TestLarge times one open and one save of the model that FP8REWRITE_LARGE names, and shows the memory that they took.
func TestLarge(t *testing.T) {
	path := os.Getenv("FP8REWRITE_LARGE")
	if path == "" {
		t.Skip("no large model: set FP8REWRITE_LARGE to its path")
	}
	t0 := time.Now()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	t.Log("open", time.Since(t0), status())
	t0 = time.Now()
	sizes, err := Plan("out.onnx", f.Model, SaveOptions{})
	t.Log("plan", time.Since(t0), sizes, err, status())
	if os.Getenv("FP8REWRITE_LARGE_COMPUTE") != "" {
		for _, i := range f.Model.Graph.Initializers {
			i.Tensor = &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{i.Tensor.Size() / 2}, Data: half{i.Tensor.Data.(tensor.Bytes)}}
		}
	}
	out := os.Getenv("FP8REWRITE_LARGE_OUT")
	if out == "" {
		out = filepath.Join(t.TempDir(), "out.onnx")
	}
	t0 = time.Now()
	r, err := Save(context.Background(), out, f.Model, SaveOptions{ExternalData: true})
	if err != nil {
		t.Fatal(err)
	}
	d := time.Since(t0)
	t.Logf("save %v %.2f GB/s %s", d, float64(r.Bytes)/d.Seconds()/1e9, status())
}

func status() string {
	b, _ := os.ReadFile("/proc/self/status")
	var out []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "RssAnon") {
			f := strings.Fields(line)
			kb, _ := strconv.Atoi(f[1])
			out = append(out, f[0]+strconv.Itoa(kb/1024)+"MB")
		}
	}
	return strings.Join(out, " ")
}
