package cpu

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Rotations: exporters write the rotary embedding's half turn, (a, b) → (−b, a) of the halves of a row, as two Slices, a Neg and a
// Concat. They become one step, which the rows then take in.

// rotations fuses the half turns of the program.
func (f *fuser) rotations() {
	for i, concat := range f.p.steps {
		if concat == nil || concat.control != nil || !concat.node.Is("Concat") || len(concat.in) != 2 || f.typ(concat.out[0]).DType != tensor.Float32 ||
			!f.lastAxis(concat.in[0], concat.node.AttrInt("axis", 0)) {
			continue
		}
		n, ok := f.onlyMaker(concat.in[0], "Neg")
		if !ok {
			continue
		}
		high, ok1 := f.onlyMaker(f.p.steps[n].in[0], "Slice")
		low, ok2 := f.onlyMaker(concat.in[1], "Slice")
		if !ok1 || !ok2 || f.p.steps[high].in[0] != f.p.steps[low].in[0] {
			continue
		}
		from, to, ok1 := f.rowSlice(f.p.steps[low])
		from2, to2, ok2 := f.rowSlice(f.p.steps[high])
		if !ok1 || !ok2 || from != 0 || from2 != to || to < 1 || to2 < 2*to {
			continue
		}
		members := []int{low, high, n, i}
		slices.Sort(members)
		x := f.p.steps[low].in[0]
		s := f.replace(members, []int{concat.out[0]}, func([]int) func(*exec, *kernel.Call) (bool, error) {
			return func(*exec, *kernel.Call) (bool, error) { return false, nil }
		})
		// The row that it turns is the first input.
		at := slices.Index(s.in, x)
		s.in[0], s.in[at] = s.in[at], s.in[0]
		s.rotate = int(to)
		s.node = &graph.Node{Name: s.node.Name, OpType: "Rotate"}
	}
	f.close()
}

// onlyMaker is the step that makes a slot which one step alone reads, where it is ONNX's own operator op.
func (f *fuser) onlyMaker(slot int, op string) (int, bool) {
	m := f.maker[slot]
	if _, ok := f.onlyReader(slot); !ok || m < 0 || f.p.steps[m] == nil || f.p.steps[m].control != nil || !f.p.steps[m].node.Is(op) {
		return 0, false
	}
	return m, true
}

// rowSlice is what a Slice along the last axis alone takes.
func (f *fuser) rowSlice(s *step) (from, to int64, ok bool) {
	if s.opset < 10 || len(s.in) < 4 {
		return 0, 0, false
	}
	var v [5]int64
	v[4] = 1
	for i := 1; i < len(s.in); i++ {
		if s.in[i] == absent {
			continue
		}
		k := f.p.consts[s.in[i]]
		if k == nil || k.variable {
			return 0, 0, false
		}
		t, _ := k.value.(*kernel.Tensor)
		list, known := int64s(t)
		if !known || len(list) != 1 {
			return 0, 0, false
		}
		v[i] = list[0]
	}
	return v[1], v[2], s.in[3] != absent && v[4] == 1 && v[1] >= 0 && v[2] >= 0 && f.lastAxis(s.in[0], v[3])
}
