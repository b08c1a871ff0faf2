package program

import (
	"container/heap"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// run is a stretch of nodes of one side, in the order in which they run.
type run struct {
	host  bool
	nodes []*graph.Node
}

// schedule orders nodes, which can run in the order given, so that the sides alternate as rarely as their dependencies allow, and on each
// side in the given order as far as that goes: on one side run all that can, then change.
func schedule(nodes []*graph.Node, host func(*graph.Node) bool) []run {
	var best []run
	for _, first := range []bool{false, true} {
		if runs := alternate(nodes, host, first); best == nil || len(runs) < len(best) {
			best = runs
		}
	}
	return best
}

func alternate(nodes []*graph.Node, host func(*graph.Node) bool, side bool) []run {
	producer := map[string]int{}
	for i, n := range nodes {
		for _, out := range n.Outputs {
			if out != "" {
				producer[out] = i
			}
		}
	}
	waits := make([]int, len(nodes))
	next := make([][]int, len(nodes))
	var ready [2]indices
	which := func(host bool) int {
		if host {
			return 1
		}
		return 0
	}
	for i, n := range nodes {
		for _, name := range n.Reads() {
			if p, ok := producer[name]; ok && p != i {
				waits[i]++
				next[p] = append(next[p], i)
			}
		}
		if waits[i] == 0 {
			heap.Push(&ready[which(host(n))], i)
		}
	}
	var runs []run
	for ready[0].Len()+ready[1].Len() > 0 {
		r := run{host: side}
		for mine := &ready[which(side)]; mine.Len() > 0; {
			i := heap.Pop(mine).(int)
			r.nodes = append(r.nodes, nodes[i])
			for _, j := range next[i] {
				if waits[j]--; waits[j] == 0 {
					heap.Push(&ready[which(host(nodes[j]))], j)
				}
			}
		}
		if len(r.nodes) > 0 {
			runs = append(runs, r)
		}
		side = !side
	}
	return runs
}

// indices is a heap whose least is first.
type indices []int

func (h indices) Len() int           { return len(h) }
func (h indices) Less(i, j int) bool { return h[i] < h[j] }
func (h indices) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push and Pop are container/heap's.
func (h *indices) Push(x any) { *h = append(*h, x.(int)) }

// Pop takes the last.
func (h *indices) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
