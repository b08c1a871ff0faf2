package ort

import (
	"errors"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

func TestMessagesLoseWhatOnlyTheirAuthorsCanRead(t *testing.T) {
	for message, want := range map[string]string{
		"plain words": "plain words",
		"/onnxruntime_src/onnxruntime/core/providers/cpu/math/matmul_helper.h:62 onnxruntime::common::Status onnxruntime::MatMulComputeHelper::Compute(const onnxruntime::TensorShape&, bool, bool) left operand cannot broadcast on dim 0": "left operand cannot broadcast on dim 0",
		"Exception during initialization: /src/core/x.cc:7 void onnxruntime::(anonymous)::f(gsl::span<long int>, std::function<void()>) const [with T = float] it broke (badly)":                                                            "Exception during initialization: it broke (badly)",
		"/src/core/x.cc:7 bool onnxruntime::Less::operator()(int, int) const a must be b":                                                                                                                                                   "a must be b",
		"first line\nsecond line\nStacktrace:\n 0x1234 in somewhere\n":                                                                                                                                                                      "first line second line",
		"/src/y.h:45 onnxruntime::R::R(const X&) size != 0 was false. The shape {2,3} (of x) does not fit":                                                                                                                                  "size != 0 was false. The shape {2,3} (of x) does not fit",
		"C:\\a\\_work\\1\\s\\core\\z.cc:3 onnxruntime::Q::Compute(onnxruntime::OpKernelContext *) const no such thing":                                                                                                                      "no such thing",
	} {
		if got := clean(message); got != want {
			t.Errorf("%q became %q, want %q", message, got, want)
		}
	}
}

func TestFailuresNameTheirNode(t *testing.T) {
	model := &graph.Model{Opsets: []graph.Opset{{Version: 21}, {Domain: "com.x", Version: 3}}, Graph: &graph.Graph{Nodes: []*graph.Node{
		{Name: "first", OpType: "Relu"}, {Name: "second", OpType: "Foo", Domain: "com.x"}}}}
	for message, want := range map[string]runtime.UnsupportedError{
		"Could not find an implementation for Add(14) node with name 'a/b'":                                                                                                            {Node: "a/b", Op: "Add", Opset: 14},
		"Load model from x.onnx failed:Fatal error: com.x:Foo(-1) is not a registered function/op":                                                                                     {Node: "second", Op: "com.x:Foo", Opset: 3},
		"This is an invalid model. Error in Node:n1 : No Op registered for Bar with domain_version of 20":                                                                              {Node: "n1", Op: "Bar", Opset: 20},
		"Type Error: Type 'tensor(int32)' of input parameter (x) of operator (Sqrt) in node (n2) is invalid.":                                                                          {Node: "n2", Op: "Sqrt", Opset: 21},
		"This is an invalid model. In Node, (\"foo_1\", Foo, \"\", -1) : (\"X\": tensor(float),) -> (\"Y\": tensor(float),) , Error No Op registered for Foo with domain_version of 7": {Node: "foo_1", Op: "Foo", Opset: 7},
		"This is an invalid model. In Node, (\"m\", Multi, \"a.b\", -1) : (\"X\": tensor(float),) -> (\"Y\",) , Error No opset import for domain 'a.b'":                                {Node: "m", Op: "a.b:Multi"},
	} {
		got, ok := errors.AsType[*runtime.UnsupportedError](openError(model, &statusError{message: message}))
		if !ok || got.Backend != "ort" || got.Node != want.Node || got.Op != want.Op || got.Opset != want.Opset {
			t.Errorf("%q became %+v, want %+v", message, got, want)
		}
	}
	const newer = "ort: this ONNX Runtime does not know opset 24, which the model imports"
	if err := openError(model, &statusError{message: "Failed to load model with error: ONNX Runtime only *guarantees* support for models stamped with official released onnx opset versions. Opset 24 is under development and support for this is limited."}); err.Error() != newer {
		t.Errorf("a newer opset became %q, want %q", err, newer)
	}
	err := runError(&statusError{message: "Non-zero status code returned while running MatMul node. Name:'it's' Status Message: does not fit"})
	got, ok := errors.AsType[*runtime.NodeError](err)
	if !ok || got.Node != "it's" || got.Op != "MatMul" || got.Err.Error() != "does not fit" {
		t.Errorf("a failed run became %+v (%v)", got, err)
	}
	if err := runError(&statusError{message: "out of luck"}); err.Error() != "ort: out of luck" {
		t.Errorf("another failure became %q", err)
	}
	if openError(model, nil) != nil || runError(nil) != nil {
		t.Error("success became a failure")
	}
}
