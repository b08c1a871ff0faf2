package rewrite

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/scaling"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Inspect describes the layers of m and the float8 state that they carry, and says of the others what Convert would decide with
// its default options, in the functions that it would inline too. Weights are not read, so one with a NaN inside counts as one to
// rewrite.
func Inspect(m *graph.Model) *report.Inspection {
	opt := &Options{Recipe: scaling.DefaultRecipe()}
	work := clone(m)
	if why := new(Result).inline(work, opt); why != "" {
		work, opt.notInlined = m, why
	}
	layers := decide(work, opt)
	res := &Result{layers: layers}
	out := &report.Inspection{SchemaVersion: report.SchemaVersion, State: res.State(), Layers: []report.InspectedLayer{}}
	out.Recipe, _ = m.Property(ops.MetadataRecipe)
	for _, l := range layers {
		row := report.InspectedLayer{Name: l.row.Name, Node: l.row.Node, Op: l.node.OpType, Graph: l.row.Graph, Shape: l.row.Shape,
			DType: l.row.DTypeBefore, Bytes: l.row.BytesBefore, Reason: l.row.Reason}
		if f, err := ops.ReadLayer(l.node); err == nil {
			row.Reason = nil
			row.Float8 = float8State(l, f)
		}
		out.Layers = append(out.Layers, row)
	}
	return out
}

func float8State(l *layer, f ops.Layer) *report.Float8State {
	read := func(name string) []float32 {
		src := l.scope.Find(name)
		if src.Constant == nil || src.Constant.Tensor.DType != tensor.Float32 {
			return nil
		}
		v, err := src.Constant.Tensor.AsFloat32s()
		if err != nil {
			return nil
		}
		return v
	}
	st := &report.Float8State{Initialized: l.initialized, AmaxInput: []report.Float32{}}
	for _, v := range read(f.AmaxHistoryInput) {
		st.AmaxInput = append(st.AmaxInput, report.Float32(v))
	}
	st.HistoryLen = int64(len(st.AmaxInput))
	if s := read(f.ScaleInput); len(s) > 0 {
		st.ScaleInput = report.Float32(s[0])
	}
	if s := read(f.ScaleWeight); len(s) > 0 {
		src := l.scope.Find(f.ScaleWeight)
		st.ScaleWeight = report.NewQuantScale(s, len(src.Constant.Tensor.Shape) > 0)
	}
	if h := read(f.AmaxHistoryWeight); len(h) > 0 {
		st.AmaxWeight = report.Float32(h[0])
	}
	return st
}
