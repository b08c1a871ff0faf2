package verify

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

func TestFollowStopsAtTheModelsOwnNodes(t *testing.T) {
	node := func(op, domain, in, out string) *graph.Node {
		return &graph.Node{OpType: op, Domain: domain, Inputs: []string{in, "b"}, Outputs: []string{out}}
	}
	for _, c := range []struct {
		name  string
		nodes []*graph.Node
		want  string
	}{
		{"nothing after it", nil, ""},
		{"a bias", []*graph.Node{node("Add", "", "y", "z")}, "z"},
		{"a bias, the domain spelled out", []*graph.Node{node("Add", "ai.onnx", "y", "z")}, "z"},
		{"all that convert adds", []*graph.Node{node("Transpose", "", "y", "1"), node("Cast", "", "1", "2"), node("Mul", "", "2", "3"),
			node("Cast", "", "3", "4"), node("Add", "", "4", "z")}, "z"},
		{"an activation", []*graph.Node{node("Relu", "", "y", "z")}, ""},
		{"a product of the model", []*graph.Node{node("MatMul", "", "y", "z")}, ""},
		{"an activation after the bias", []*graph.Node{node("Add", "", "y", "1"), node("Softmax", "", "1", "z")}, ""},
		{"another domain's Add", []*graph.Node{node("Add", "com.example", "y", "z")}, ""},
		{"two readers", []*graph.Node{node("Add", "", "y", "z"), node("Mul", "", "y", "w")}, ""},
		{"no output", []*graph.Node{{OpType: "Add", Inputs: []string{"y"}}}, ""},
	} {
		readers := map[string][]*graph.Node{}
		for _, n := range c.nodes {
			for _, in := range n.Inputs {
				readers[in] = append(readers[in], n)
			}
		}
		if got := follow("y", map[string]bool{"z": true}, readers); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if got := follow("y", map[string]bool{"y": true}, nil); got != "y" {
		t.Errorf("a value that the original has: got %q, want itself", got)
	}
}
