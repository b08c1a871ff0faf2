package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// branch is the graph held by an attribute, nil when there is none.
func (c *call) branch(name string) *graph.Graph {
	if a := c.node.Attr(name); a != nil {
		return a.Graph
	}
	return nil
}

// enter infers an inner graph whose inputs have the given facts and returns its scope and the facts of its outputs.
func (c *call) enter(g *graph.Graph, given []fact) []fact {
	s := c.open(g, c.scope, given)
	c.graph(s)
	out := make([]fact, len(g.Outputs))
	for i, v := range g.Outputs {
		out[i], _ = s.find(v.Name)
	}
	return out
}

// ifNode: what holds in both branches.
func ifNode(c *call) {
	a, b := c.branch("then_branch"), c.branch("else_branch")
	if a == nil || b == nil {
		return
	}
	x, y := c.enter(a, nil), c.enter(b, nil)
	for i := range c.node.Outputs {
		if i < len(x) && i < len(y) {
			c.out(i, either(x[i], y[i]))
		}
	}
}

// maxAssume is the nesting up to which ranks of values carried round a loop are found by assuming them: every level may look at
// its body three times.
const maxAssume = 3

// loop: a carried value keeps its element type but may change its shape, so the rank of its start holds only if the body, given
// that rank, gives it back.
func loop(c *call) {
	body := c.branch("body")
	if body == nil {
		return
	}
	carried := len(c.node.Inputs) - 2
	if carried < 0 || len(body.Inputs) < carried+2 || len(body.Outputs) < carried+1 {
		return
	}
	given := make([]fact, carried+2)
	given[0] = fact{elem: sureElem(tensor.Int64), ext: scalar0}
	given[1] = fact{elem: sureElem(tensor.Bool), ext: scalar0}
	for i := range carried {
		f := c.in(i + 2)
		given[i+2] = fact{elem: f.elem}
		if c.scope.depth < maxAssume {
			given[i+2].ext = f.ext.vague()
		}
	}
	var out []fact
	for range 2 {
		out = c.enter(body, given)
		stable := true
		for i := range carried {
			e := given[i+2].ext
			if got := out[i+1].ext; e.ranked && (!got.ranked || len(got.dims) != len(e.dims)) {
				given[i+2].ext = extent{}
				stable = false
			}
		}
		if stable {
			break
		}
		out = nil
	}
	if out == nil {
		for i := range carried {
			given[i+2].ext = extent{}
		}
		out = c.enter(body, given)
	}
	for i := range c.node.Outputs {
		switch {
		case i+1 >= len(out):
		case i < carried:
			// With no iteration the start comes out, else what the body gave.
			f := either(fact{elem: c.in(i + 2).elem, ext: c.in(i + 2).ext}, out[i+1])
			if !f.ext.ranked {
				f.elem = pickElem(c.in(i+2), out[i+1])
			}
			c.out(i, fact{other: f.other, elem: f.elem, ext: f.ext.vague()})
		default:
			c.out(i, stacked(out[i+1], 0, anyDim))
		}
	}
}

// stacked is the value that collects one of f's kind per iteration along axis at.
func stacked(f fact, at int64, d graph.Dim) fact {
	out := fact{elem: f.elem}
	if f.ext.ranked {
		if a, ok := axis(at, len(f.ext.dims)+1); ok {
			out.ext = extent{ranked: true, sure: min(f.ext.sure, sureRank)}
			out.ext.dims = append(append(append([]graph.Dim{}, f.ext.dims[:a]...), d), f.ext.dims[a:]...)
		}
	}
	return out
}

// scan (opset 9 on): states keep their shape, scanned inputs lose an axis, scanned outputs gain one. Opset 8 has a batch axis
// besides and is not followed.
func scan(c *call) {
	body := c.branch("body")
	if body == nil || c.opset < 9 {
		return
	}
	scanned := int(c.node.AttrInt("num_scan_inputs", 0))
	states := len(c.node.Inputs) - scanned
	if scanned <= 0 || states < 0 || len(body.Inputs) < states+scanned || len(body.Outputs) < states {
		return
	}
	inAxes, _ := c.node.AttrInts("scan_input_axes")
	outAxes, _ := c.node.AttrInts("scan_output_axes")
	pick := func(list []int64, i int) int64 {
		if i < len(list) {
			return list[i]
		}
		return 0
	}
	given := make([]fact, states+scanned)
	steps := anyDim
	for i := range given {
		f := c.in(i)
		given[i] = fact{elem: f.elem, ext: f.ext}
		if i < states {
			continue
		}
		given[i].ext = extent{}
		if a, ok := axis(pick(inAxes, i-states), len(f.ext.dims)); ok {
			given[i].ext = dropAxes(f.ext, []int64{int64(a)}, false)
			if steps.Value < 0 && f.ext.dims[a] != anyDim {
				steps = f.ext.dims[a]
			}
		}
	}
	out := c.enter(body, given)
	for i := range c.node.Outputs {
		switch {
		case i >= len(out):
		case i < states:
			f := c.in(i)
			if !f.ext.ranked {
				f.ext = out[i].ext
			}
			c.out(i, fact{elem: pickElem(f, out[i]), ext: f.ext})
		default:
			c.out(i, stacked(out[i], pick(outAxes, i-states), steps))
		}
	}
}
