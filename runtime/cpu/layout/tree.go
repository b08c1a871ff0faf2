package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// The comparisons of a tree's nodes, in ONNX's numbering.
const (
	atMost = iota
	below
	atLeast
	above
	equal
	differs
	member
	comparisons
)

// node is an inner node of a tree: which feature it compares and how, and where each answer leads.
type node struct {
	mode    uint8
	missing bool // whether NaN counts as a yes
	feature int
	split   float64
	members map[float64]bool
	next    [2]branch // no, yes
}

// branch leads to an inner node or to a leaf.
type branch struct {
	leaf bool
	at   int
}

// ensemble is a TreeEnsemble (ai.onnx.ml) with its attributes.
type ensemble struct {
	nodes     []node
	roots     []branch
	targets   []int // of the leaves
	weights   []float64
	outputs   int
	aggregate int64 // 0 average, 1 sum, 2 smallest, 3 largest
	post      int64 // 0 none, 1 softmax, 2 logistic, 3 softmax of what is not zero, 4 probit
}

func makeTreeEnsemble(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	numbersOf := func(name string) []float64 {
		t := r.Tensor(name)
		if t == nil {
			return nil
		}
		v, err := numbers(t)
		if err != nil {
			r.Fail("attribute %q: %w", name, err)
		}
		return v
	}
	splits, modes := numbersOf("nodes_splits"), numbersOf("nodes_modes")
	features, _ := r.Ints("nodes_featureids")
	yes, _ := r.Ints("nodes_truenodeids")
	no, _ := r.Ints("nodes_falsenodeids")
	yesLeaf, _ := r.Ints("nodes_trueleafs")
	noLeaf, _ := r.Ints("nodes_falseleafs")
	missing, _ := r.Ints("nodes_missing_value_tracks_true")
	roots, _ := r.Ints("tree_roots")
	targets, _ := r.Ints("leaf_targetids")
	members := numbersOf("membership_values")
	outputs := r.Int("n_targets", 1)
	e := &ensemble{weights: numbersOf("leaf_weights"), aggregate: r.Int("aggregate_function", 1), post: r.Int("post_transform", 0)}
	r.Skip("nodes_hitrates")
	n := len(splits)
	for name, have := range map[string]int{"nodes_modes": len(modes), "nodes_featureids": len(features), "nodes_truenodeids": len(yes),
		"nodes_falsenodeids": len(no), "nodes_trueleafs": len(yesLeaf), "nodes_falseleafs": len(noLeaf)} {
		if have != n {
			r.Fail("%s has %d entries, nodes_splits has %d", name, have, n)
		}
	}
	if missing != nil && len(missing) != n {
		r.Fail("nodes_missing_value_tracks_true has %d entries, want %d", len(missing), n)
	}
	if len(targets) != len(e.weights) || outputs < 1 || outputs > 1<<31-1 || e.aggregate < 0 || e.aggregate > 3 || e.post < 0 || e.post > 4 {
		r.Fail("%d leaf targets for %d weights, %d targets, aggregate %d, post transform %d", len(targets), len(e.weights), outputs, e.aggregate, e.post)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	e.outputs = int(outputs)
	for _, t := range targets {
		if t < 0 || t >= outputs {
			return nil, fmt.Errorf("leaf target %d, want 0 to %d", t, outputs-1)
		}
		e.targets = append(e.targets, int(t))
	}
	e.nodes = make([]node, n)
	for i := range e.nodes {
		nd := &e.nodes[i]
		if !(modes[i] >= 0 && modes[i] < comparisons) || features[i] < 0 || features[i] > 1<<31-1 {
			return nil, fmt.Errorf("node %d: mode %g, feature %d", i, modes[i], features[i])
		}
		*nd = node{mode: uint8(modes[i]), missing: missing != nil && missing[i] != 0, feature: int(features[i]), split: splits[i]}
		for k, b := range [2]struct{ leaf, at int64 }{{noLeaf[i], no[i]}, {yesLeaf[i], yes[i]}} {
			limit := n
			if b.leaf != 0 {
				limit = len(targets)
			}
			if b.at < 0 || b.at >= int64(limit) {
				return nil, fmt.Errorf("node %d leads to %d, want 0 to %d", i, b.at, limit-1)
			}
			nd.next[k] = branch{b.leaf != 0, int(b.at)}
		}
		if nd.mode == member {
			// The sets of all member nodes follow one another, each ended by NaN.
			nd.members = map[float64]bool{}
			ended := false
			for len(members) > 0 && !ended {
				if ended = members[0] != members[0]; !ended {
					nd.members[members[0]] = true
				}
				members = members[1:]
			}
			if !ended {
				return nil, fmt.Errorf("node %d: membership_values has no set for it", i)
			}
		}
	}
	for _, root := range roots {
		if root < 0 || root >= int64(n) {
			return nil, fmt.Errorf("tree root %d, want 0 to %d", root, n-1)
		}
		b := branch{at: int(root)}
		// A tree that is a leaf has a node for form's sake, whose answers lead to the same leaf.
		if nd := e.nodes[root]; nd.next[0] == nd.next[1] && nd.next[0].leaf {
			b = nd.next[0]
		}
		e.roots = append(e.roots, b)
	}
	return e.run, nil
}

func (nd *node) answer(x float64) int {
	yes := false
	switch nd.mode {
	case atMost:
		yes = x <= nd.split
	case below:
		yes = x < nd.split
	case atLeast:
		yes = x >= nd.split
	case above:
		yes = x > nd.split
	case equal:
		yes = x == nd.split
	case differs:
		yes = x != nd.split
	case member:
		yes = nd.members[x]
	}
	if yes || (nd.missing && x != x) {
		return 1
	}
	return 0
}

// leaf follows a row from a root. A path longer than there are nodes goes in a circle.
func (e *ensemble) leaf(b branch, row []float64) (int, error) {
	for range len(e.nodes) + 1 {
		if b.leaf {
			return b.at, nil
		}
		nd := &e.nodes[b.at]
		if nd.feature >= len(row) {
			return 0, fmt.Errorf("node %d compares feature %d, the input has %d", b.at, nd.feature, len(row))
		}
		b = nd.next[nd.answer(row[nd.feature])]
	}
	return 0, fmt.Errorf("the tree goes in a circle at node %d", b.at)
}

func (e *ensemble) run(c *kernel.Call) error {
	t, err := c.Tensor(0)
	if err != nil {
		return err
	}
	if len(t.Shape) != 2 {
		return fmt.Errorf("input is %s, want [N,features]", t)
	}
	x, err := numbers(t)
	if err != nil {
		return err
	}
	out, err := c.New(0, t.DType, []int{t.Shape[0], e.outputs})
	if err != nil {
		return err
	}
	y := make([]float64, out.Len())
	first := map[int64]float64{2: largestOf(t.DType), 3: -largestOf(t.DType)}[e.aggregate]
	for i := range t.Shape[0] {
		row := y[i*e.outputs:][:e.outputs]
		for k := range row {
			row[k] = first
		}
		for _, root := range e.roots {
			leaf, err := e.leaf(root, x[i*t.Shape[1]:][:t.Shape[1]])
			if err != nil {
				return err
			}
			k, w := e.targets[leaf], e.weights[leaf]
			switch e.aggregate {
			case 0:
				row[k] += w / float64(len(e.roots))
			case 1:
				row[k] += w
			case 2:
				row[k] = min(row[k], w)
			case 3:
				row[k] = max(row[k], w)
			}
		}
		finish(row, e.post)
	}
	return store(out, y, math.RoundToEven)
}

// largestOf is what the smallest of no leaves is.
func largestOf(d tensor.DType) float64 {
	switch d {
	case tensor.Float64:
		return math.MaxFloat64
	case tensor.Float16:
		return 65504
	}
	return math.MaxFloat32
}

// finish is the post transform of one row.
func finish(row []float64, post int64) {
	switch post {
	case 1, 3:
		most := math.Inf(-1)
		for _, v := range row {
			most = max(most, v)
		}
		sum := 0.0
		for i, v := range row {
			if post == 3 && v == 0 {
				continue // a zero stays one
			}
			row[i] = math.Exp(v - most)
			sum += row[i]
		}
		for i := range row {
			if sum != 0 {
				row[i] /= sum
			}
		}
	case 2:
		for i, v := range row {
			row[i] = 1 / (1 + math.Exp(-v))
		}
	case 4:
		for i, v := range row {
			row[i] = math.Sqrt2 * math.Erfinv(2*v-1)
		}
	}
}
