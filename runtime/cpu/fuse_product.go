package cpu

import (
	"slices"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/gemm"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Products: a MatMul of two computed values reads its operands through the transposes, repetitions and reshapes before it, and writes
// through a transpose after it, so that the heads of an attention are never moved.

// products fuses the MatMuls of the program.
func (f *fuser) products() {
	for i, s := range f.p.steps {
		if s == nil || s.control != nil || !s.node.Is("MatMul") || len(s.in) != 2 || f.p.consts[s.in[0]] != nil || f.p.consts[s.in[1]] != nil ||
			f.typ(s.out[0]).DType != tensor.Float32 {
			continue
		}
		v := &viewProduct{}
		var members []int
		var base [2]int
		for o := range 2 {
			var chain []int
			base[o], chain = f.viewsBefore(s.in[o])
			for _, c := range chain {
				v.chains[o] = append(v.chains[o], f.p.steps[c])
			}
			members = append(members, chain...)
		}
		if s.in[0] == s.in[1] {
			continue
		}
		members = append(members, i)
		out := s.out[0]
		if t, ok := f.onlyReader(out); ok {
			if after := f.p.steps[t]; after.control == nil && after.node.Is("Transpose") {
				if perm, ok := after.node.AttrInts("perm"); ok && len(perm) > 1 && perm[len(perm)-1] == int64(len(perm)-1) {
					v.perm, out = perm, after.out[0]
					members = append(members, t)
				}
			}
		}
		if len(members) == 1 {
			continue
		}
		slices.Sort(members)
		made := f.replace(members, []int{out}, func(in []int) func(*exec, *kernel.Call) (bool, error) {
			v.base = base
			v.in = in
			return v.run
		})
		made.node = &graph.Node{Name: s.node.Name, OpType: s.node.OpType}
		made.name = s.name
	}
	f.close()
}

// onlyReader is the one step that reads a slot, false where there are others, or an output.
func (f *fuser) onlyReader(slot int) (int, bool) {
	r := f.readers[slot]
	if len(r) != 1 || r[0] == endless || f.p.steps[r[0]] == nil {
		return 0, false
	}
	return r[0], true
}

// viewsBefore follows a slot up through steps that only move elements and that nobody else reads. chain is in the order of the program.
func (f *fuser) viewsBefore(slot int) (base int, chain []int) {
	for {
		m := f.maker[slot]
		if m < 0 || f.p.steps[m] == nil {
			break
		}
		s := f.p.steps[m]
		if _, ok := f.onlyReader(slot); !ok || s.control != nil || !viewOperators[s.op()] {
			break
		}
		chain = append(chain, m)
		slot = s.in[0]
	}
	slices.Reverse(chain)
	// What ends in reshapes of the base alone is no copy in the first place.
	if !slices.ContainsFunc(chain, func(c int) bool { op := f.p.steps[c].node.OpType; return op == "Transpose" || op == "Expand" }) {
		if len(chain) > 0 {
			slot = f.p.steps[chain[len(chain)-1]].out[0]
		}
		return slot, nil
	}
	return slot, chain
}

// viewProduct is a MatMul over views.
type viewProduct struct {
	base   [2]int // slots
	chains [2][]*step
	perm   []int64 // of the output, nil for none
	in     []int   // slots of the fused step's inputs
}

func (v *viewProduct) run(x *exec, c *kernel.Call) (bool, error) {
	value := func(slot int) *kernel.Tensor {
		if i := slices.Index(v.in, slot); i >= 0 {
			t, _ := c.In[i].(*kernel.Tensor)
			return t
		}
		return nil
	}
	var w [2]view
	for o := range 2 {
		t := value(v.base[o])
		if t == nil || t.DType != tensor.Float32 || t.Len() == 0 {
			return false, nil
		}
		w[o] = whole(t)
		for _, s := range v.chains[o] {
			var ok bool
			if w[o], ok = w[o].apply(s, func(i int) *kernel.Tensor { return value(s.in[i]) }); !ok {
				return false, nil
			}
		}
	}
	a, b := w[0].shape(), w[1].shape()
	rank := len(a)
	if rank < 2 || len(b) != rank || !slices.Equal(a[:rank-2], b[:rank-2]) || a[rank-1] != b[rank-2] {
		return false, nil
	}
	m, n, k := a[rank-2], b[rank-1], a[rank-1]
	var operands [2]gemm.Operand
	for o := range 2 {
		rows, ok := w[o].stride(rank - 2)
		cols, ok2 := w[o].stride(rank - 1)
		if !ok || !ok2 {
			return false, nil
		}
		operands[o] = gemm.Operand{DType: tensor.Float32, Bytes: w[o].t.Bytes, RowStride: rows, ColStride: cols, Offsets: w[o].offsets(rank - 2)}
	}
	shape := append(slices.Clone(a[:rank-1]), n)
	perm := v.perm
	if perm == nil {
		for i := range rank {
			perm = append(perm, int64(i))
		}
	}
	if len(perm) != rank {
		return false, nil
	}
	final := make([]int, rank)
	for i, p := range perm {
		if p < 0 || p >= int64(rank) {
			return false, nil
		}
		final[i] = shape[p]
	}
	out, err := c.New(0, tensor.Float32, final)
	if err != nil {
		return false, err
	}
	// Where the axes of the product lie in the output.
	back := make([]int64, rank)
	for i, p := range perm {
		back[p] = int64(i)
	}
	at, _ := whole(out).transpose(back)
	rows, _ := at.stride(rank - 2)
	gemm.Run(x.pool, &gemm.Problem{M: m, N: n, K: k, Batch: kernel.Count(a[:rank-2]), A: operands[0], B: operands[1],
		C: gemm.Output{DType: tensor.Float32, Bytes: out.Bytes, RowStride: rows, Offsets: at.offsets(rank - 2)}})
	return true, nil
}
