package shape

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Info holds what is known of every value of a model's main graph and of the graphs inside it.
type Info struct{ scopes map[*graph.Graph]*scope }

// Infer looks at every node once, and at most three times for every Loop around it down to a fixed depth, so its time is linear in
// the model's size. Nodes need not be sorted. It never fails: what makes no sense is unknown.
func Infer(m *graph.Model) *Info {
	w := &walker{info: &Info{scopes: map[*graph.Graph]*scope{}}, opset: m.OpsetVersion(""), fixedInputs: m.IRVersion < 4,
		functions: map[[2]string]bool{}, rules: newRules(),
		contrib: newContribRules()}
	for _, f := range m.Functions {
		w.functions[[2]string{graph.CanonicalDomain(f.Domain), f.Name}] = true
	}
	if m.Graph != nil {
		w.graph(w.open(m.Graph, nil, nil))
	}
	return w.info
}

// Of is what is known of the value that graph g calls name, looking outwards through the graphs around g. The DType is Undefined
// and HasShape is false where unknown; a fixed extent has Value ≥ 0. The result is false where no graph defines the name.
func (i *Info) Of(g *graph.Graph, name string) (graph.Type, bool) {
	f, ok := i.find(g, name)
	if !ok {
		return graph.Type{}, false
	}
	t := graph.Type{DType: f.elem.dtype, HasShape: f.ext.ranked}
	if f.other {
		t.Kind = graph.OtherKind
	}
	if f.ext.ranked {
		t.Shape = append([]graph.Dim{}, f.ext.dims...)
	}
	return t, true
}

// Rank is the number of axes of the value, false where unknown.
func (i *Info) Rank(g *graph.Graph, name string) (int, bool) {
	f, ok := i.find(g, name)
	if !ok || !f.ext.ranked {
		return 0, false
	}
	return len(f.ext.dims), true
}

// DType is the element type of the value, Undefined where unknown.
func (i *Info) DType(g *graph.Graph, name string) tensor.DType {
	f, _ := i.find(g, name)
	return f.elem.dtype
}

// Ints is the content of the value where it is a scalar or a short vector of integers and every element is known.
func (i *Info) Ints(g *graph.Graph, name string) ([]int64, bool) {
	f, _ := i.find(g, name)
	return f.ints()
}

func (i *Info) find(g *graph.Graph, name string) (fact, bool) {
	sc := i.scopes[g]
	if sc == nil {
		return fact{}, false
	}
	return sc.find(name)
}
