package cpu

import (
	"container/heap"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// sorted is nodes with producers before readers. Nodes that stand so already keep their order, also where a name is defined
// twice: then each reader means the definition before it. Else a name means its first definition, and nodes stay as near to
// their place as that allows. A name that several Constants define means the last of them everywhere, as in ONNX Runtime, which makes
// initializers of them before it looks at the order.
func sorted(nodes []*graph.Node) ([]*graph.Node, error) {
	nodes = lastConstants(nodes)
	producer := make(map[string]int, len(nodes))
	for i, n := range nodes {
		for _, o := range n.Outputs {
			if _, twice := producer[o]; o != "" && !twice {
				producer[o] = i
			}
		}
	}
	reads := make([][]string, len(nodes))
	inOrder := true
	for i, n := range nodes {
		reads[i] = n.Reads()
		for _, name := range reads[i] {
			if p, ok := producer[name]; ok && p >= i {
				inOrder = false
			}
		}
	}
	if inOrder {
		return nodes, nil
	}
	waits := make([]int, len(nodes))
	readers := make([][]int, len(nodes))
	for i := range nodes {
		for _, name := range reads[i] {
			if p, ok := producer[name]; ok {
				readers[p] = append(readers[p], i)
				waits[i]++
			}
		}
	}
	var ready intHeap
	for i := range nodes {
		if waits[i] == 0 {
			heap.Push(&ready, i)
		}
	}
	out := make([]*graph.Node, 0, len(nodes))
	for len(ready) > 0 {
		i := heap.Pop(&ready).(int)
		out = append(out, nodes[i])
		for _, r := range readers[i] {
			if waits[r]--; waits[r] == 0 {
				heap.Push(&ready, r)
			}
		}
	}
	if len(out) < len(nodes) {
		for i, n := range nodes {
			if waits[i] > 0 {
				return nil, fmt.Errorf("node %q: %s: its inputs depend on its own output", nodeName(n), key(n))
			}
		}
	}
	return out, nil
}

// lastConstants leaves out a Constant whose name a later one defines, and moves that to the place of the first.
func lastConstants(nodes []*graph.Node) []*graph.Node {
	first := map[string]int{}
	var out []*graph.Node
	for i, n := range nodes {
		at, twice := first[n.Output(0)]
		if !n.Is("Constant") {
			if out != nil {
				out = append(out, n)
			}
			continue
		}
		if twice && out == nil {
			out = append(out, nodes[:i]...)
		}
		switch {
		case twice:
			out[at] = n
		case out != nil:
			first[n.Output(0)] = len(out)
			out = append(out, n)
		default:
			first[n.Output(0)] = i
		}
	}
	if out == nil {
		return nodes
	}
	return out
}

// nodeName is what errors call a node: its first output where it has no name.
func nodeName(n *graph.Node) string {
	if n.Name != "" {
		return n.Name
	}
	for _, o := range n.Outputs {
		if o != "" {
			return o
		}
	}
	return ""
}

// intHeap is container/heap's minimum heap of node numbers.
type intHeap []int

func (h intHeap) Len() int           { return len(h) }
func (h intHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h intHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *intHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *intHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
