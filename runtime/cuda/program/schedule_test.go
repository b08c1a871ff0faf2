package program

import (
	"slices"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// nodes makes nodes from lines such as "a b -> c": those whose output begins with h are the host's.
func nodesOf(lines ...string) []*graph.Node {
	var all []*graph.Node
	for _, line := range lines {
		in, out, _ := strings.Cut(line, "->")
		all = append(all, &graph.Node{Name: strings.TrimSpace(out), Inputs: strings.Fields(in), Outputs: strings.Fields(out)})
	}
	return all
}

func scheduled(nodes []*graph.Node) string {
	var s []string
	for _, r := range schedule(nodes, func(n *graph.Node) bool { return strings.HasPrefix(n.Name, "h") }) {
		var names []string
		for _, n := range r.nodes {
			names = append(names, n.Name)
		}
		s = append(s, strings.Join(names, " "))
	}
	return strings.Join(s, " | ")
}

func TestSidesChangeAsRarelyAsDependenciesAllow(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes []*graph.Node
		want  string
	}{
		{"host nodes that wait for nothing come together", nodesOf("x -> a", "x -> h1", "a -> b", "x -> h2", "b h1 h2 -> c"), "h1 h2 | a b c"},
		{"independent chains share their changes", nodesOf("x -> a", "a -> h1", "h1 -> b", "x -> c", "c -> h2", "h2 -> d"), "a c | h1 h2 | b d"},
		{"the order of the file stays", nodesOf("x -> a", "x -> b", "b -> c", "a -> d"), "a b c d"},
		{"what the host needs late is not fetched early", nodesOf("x -> h1", "x -> a", "a h1 -> h2", "h2 -> b"), "a | h1 h2 | b"},
	} {
		if got := scheduled(c.nodes); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestANodeReadsWhatGraphsInsideItRead(t *testing.T) {
	inner := &graph.Graph{
		Inputs:       []*graph.Value{{Name: "i"}},
		Initializers: []*graph.Initializer{{Name: "c"}},
		Nodes:        []*graph.Node{{Inputs: []string{"i", "c", "outside", ""}, Outputs: []string{"y"}}},
		Outputs:      []*graph.Value{{Name: "y"}, {Name: "passed"}},
	}
	n := &graph.Node{Inputs: []string{"cond", ""}, Attributes: []*graph.Attribute{{Name: "body", Kind: graph.AttrGraph, Graph: inner}}}
	if got, want := n.Reads(), []string{"cond", "outside", "passed"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
