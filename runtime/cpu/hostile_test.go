package cpu

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// fails opens a model that is made to do harm, or runs it, within a moment.
func fails(t *testing.T, m *graph.Model, inputs in) error {
	t.Helper()
	start := time.Now()
	s, err := New().Open(t.Context(), m, runtime.Options{})
	if err == nil {
		_, err = s.Run(t.Context(), inputs.values())
	}
	if err == nil {
		t.Error("no error")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("the error took %v", took)
	}
	return err
}

func TestModelsThatGrowWithoutBoundAreErrors(t *testing.T) {
	// Every function calls the next one twice: 2^40 nodes.
	doubling := []any{input("x float32 n"), node("f.F0 x -> y"), outputs("y")}
	for i := range 40 {
		next := fmt.Sprintf("f.F%d", i+1)
		doubling = append(doubling, function(fmt.Sprintf("F%d", i), "x", "z", node(next+" x -> y"), node(next+" y -> z")))
	}
	doubling = append(doubling, function("F40", "x", "y", node("Neg x -> y")))
	// Each function calls the next, without end in sight.
	deep := []any{input("x float32 n"), node("f.G0 x -> y"), outputs("y")}
	for i := range 5000 {
		deep = append(deep, function(fmt.Sprintf("G%d", i), "x", "y", node(fmt.Sprintf("f.G%d x -> y", i+1))))
	}
	deep = append(deep, function("G5000", "x", "y", node("Neg x -> y")))
	nested := body("then_branch", outputs("x"))
	for range 2000 {
		nested = body("then_branch", node("If c -> y", nested, body("else_branch", outputs("x"))), outputs("y"))
	}
	for name, m := range map[string]*graph.Model{
		"functions that double": model(doubling...),
		"functions that nest":   model(deep...),
		"graphs that nest":      model(input("c bool"), input("x float32 n"), node("If c -> y", nested, body("else_branch", outputs("x"))), outputs("y")),
	} {
		t.Run(name, func(t *testing.T) {
			if err := fails(t, m, nil); err != nil && !strings.Contains(err.Error(), "more than") {
				t.Error(err)
			}
		})
	}
}

// A constant that would be huge is not made while a model is opened.
func TestHugeConstantsAreNotFolded(t *testing.T) {
	m := model(ints("n", tensor.Shape{2}, 1<<20, 1<<20), node("ConstantOfShape n -> y"), outputs("y"))
	err := fails(t, m, nil)
	var e *runtime.MemoryError
	if !errors.As(err, &e) {
		t.Errorf("%v, want a MemoryError", err)
	}
}

func TestValuesThatOperatorsDoNotExpectAreErrorsOfTheNode(t *testing.T) {
	for name, c := range map[string]struct {
		m  *graph.Model
		in in
	}{
		"a condition of two": {model(input("c bool k"), input("x float32 n"), node("If c -> y", body("then_branch", outputs("x")), body("else_branch", outputs("x"))), outputs("y")),
			in{"c": tensor.Bools(tensor.Shape{2}, true, true), "x": f32(1)}},
		"a trip count of two": {model(input("m int64 n"), input("x float32 1"),
			node("Loop m _ x -> y", body("body", input("i int64"), input("c bool"), input("s float32 1"), outputs("c s"))), outputs("y")),
			in{"m": i64(1, 2), "x": f32(1)}},
		"scanned inputs of two lengths": {model(input("a float32 n"), input("b float32 k"), node("Scan a b -> y", graph.Int("num_scan_inputs", 2),
			body("body", input("p float32"), input("q float32"), node("Add p q -> r"), outputs("r"))), outputs("y")),
			in{"a": f32(1, 2, 3), "b": f32(1, 2)}},
		"shapes that do not broadcast": {model(input("a float32 n"), input("b float32 k"), node("Add a b -> c"), node("Mul c a -> y"), outputs("y")),
			in{"a": f32(1, 2, 3), "b": f32(1, 2)}},
	} {
		err := fails(t, c.m, c.in)
		var e *runtime.NodeError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want a NodeError", name, err)
		}
	}
}
