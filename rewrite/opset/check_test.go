package opset

import (
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

func TestCheckFindsOperatorsThatDoNotExist(t *testing.T) {
	model := func(version int64, ops ...string) *graph.Model {
		m := &graph.Model{Opsets: []graph.Opset{{Domain: "", Version: version}}, Graph: &graph.Graph{}}
		for _, op := range ops {
			m.Graph.Nodes = append(m.Graph.Nodes, &graph.Node{Name: "n" + op, OpType: op})
		}
		return m
	}
	for _, c := range []struct {
		model *graph.Model
		want  string
	}{
		{model(17, "MatMul", "Add", "LayerNormalization"), ""},
		{model(11, "LayerNormalization"), ""}, // runtimes have it from the start
		{model(7, "Foo"), `node "nFoo" (Foo): ONNX has no operator of this name`},
		{model(11, "Gelu"), `node "nGelu" (Gelu): the operator came with version 20, the model is at 11`},
		{model(newest+1, "Foo"), ""},
	} {
		err := Check(c.model)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: got %v, want %q", c.model.Opsets, err, c.want)
		}
	}
	m := model(7, "Foo")
	m.Graph.Nodes[0].Domain = "my.domain"
	if err := Check(m); err != nil {
		t.Errorf("another domain: %v", err)
	}
}
