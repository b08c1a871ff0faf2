package cpu

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Rows: elementwise operators on float32, and the reductions along the last axis between them, become one step that goes through
// its operands a block of a row at a time, so that what lies between two operators stays in the cache. Decomposed LayerNorm and
// RMSNorm, GELU and SiLU, masked and scaled Softmax, biases and residuals all come out of this one rule.

// group is a set of steps that may become one.
type group struct{ members []int }

// rows groups the steps of the program and replaces each group of more than one.
func (f *fuser) rows() {
	of := make([]*group, len(f.p.steps))
	for i, s := range f.p.steps {
		if !f.rowOperator(s) {
			continue
		}
		joined := &group{members: []int{i}}
		var with []*group
		for _, in := range s.in {
			if in == absent || f.maker[in] < 0 {
				continue
			}
			if g := of[f.maker[in]]; g != nil && !slices.Contains(with, g) && f.together(joined.members, g.members, i) {
				with = append(with, g)
				joined.members = append(joined.members, g.members...)
			}
		}
		slices.Sort(joined.members)
		for _, m := range joined.members {
			of[m] = joined
		}
	}
	done := map[*group]bool{}
	for _, g := range of {
		if g == nil || done[g] {
			continue
		}
		done[g] = true
		f.replaceRows(g.members)
	}
	f.close()
}

// mostMembers bounds a group: each member may need a buffer.
const mostMembers = 24

// together reports whether the members of a and b can all run at step last: nobody outside reads one of their values before that.
func (f *fuser) together(a, b []int, last int) bool {
	if len(a)+len(b) > mostMembers {
		return false
	}
	inside := func(i int) bool { return slices.Contains(a, i) || slices.Contains(b, i) }
	outputs := 0
	for _, list := range [][]int{a, b} {
		for _, m := range list {
			for _, o := range f.p.steps[m].out {
				if o == absent {
					continue
				}
				outside := false
				for _, r := range f.readers[o] {
					if inside(r) {
						continue
					}
					if r < last {
						return false
					}
					outside = true
				}
				if outside {
					outputs++
				}
			}
		}
	}
	return outputs <= 2
}

// rowOperator reports whether the machine of rows knows the step's operator in this form.
func (f *fuser) rowOperator(s *step) bool {
	if s.control != nil && s.rotate == 0 || s.layers || len(s.out) != 1 || s.out[0] == absent || graph.CanonicalDomain(s.node.Domain) != "" {
		return false
	}
	if f.typ(s.out[0]).DType != tensor.Float32 {
		return false
	}
	_, ok := f.rowCode(s)
	return ok
}

// replaceRows makes one step of a group, where that is worth it.
func (f *fuser) replaceRows(members []int) {
	if len(members) < 2 {
		return
	}
	var out []int
	for _, m := range members {
		o := f.p.steps[m].out[0]
		if slices.ContainsFunc(f.readers[o], func(r int) bool { return !slices.Contains(members, r) }) {
			out = append(out, o)
		}
	}
	// An operand that is a transpose which leaves rows whole is read where it lies.
	turned := map[int][]int64{}
	all := slices.Clone(members)
	for _, m := range members {
		for _, slot := range f.p.steps[m].in {
			if slot == absent || turned[slot] != nil || !f.rowReads(f.p.steps[m], slot) {
				continue
			}
			t := f.maker[slot]
			if t < 0 || f.p.steps[t] == nil || slices.Contains(members, t) || f.p.steps[t].control != nil || !f.p.steps[t].node.Is("Transpose") ||
				slices.ContainsFunc(f.readers[slot], func(r int) bool { return !slices.Contains(members, r) }) {
				continue
			}
			if perm, ok := f.p.steps[t].node.AttrInts("perm"); ok && len(perm) > 1 && perm[len(perm)-1] == int64(len(perm)-1) {
				turned[slot] = perm
				all = append(all, t)
			}
		}
	}
	slices.Sort(all)
	s := f.replace(all, out, func(in []int) func(*exec, *kernel.Call) (bool, error) {
		return f.rowMachine(members, in, out, turned).run
	})
	s.inPlace = true
}
