package rewrite

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/report"
)

// NotCalibratedError says that a layer's scale has not been observed yet.
type NotCalibratedError struct{ Layer string }

func (e *NotCalibratedError) Error() string {
	return "rewrite: layer " + quote(e.Layer) + ": not calibrated: its input scale has seen no data"
}

// delayed reports whether a layer of variant v needs observed amaxes.
func delayed(v ops.Variant) bool {
	return v.Input == ops.InputDelayed || v.Weight == ops.WeightDelayed
}

// initialized reads the flag of a layer: whether its histories hold an observation.
func initialized(s *graph.Scope, name string) bool {
	src := s.Find(name)
	if src.Constant == nil {
		return false
	}
	yes, err := src.Constant.Tensor.AsBool()
	return err == nil && yes
}

// State says how far the float8 state of the resulting model has come.
func (res *Result) State() report.State {
	var st report.State
	for _, l := range res.layers {
		if l.delayed {
			st.DelayedLayers++
			if l.initialized {
				st.InitializedLayers++
			}
		}
	}
	st.Calibrated = st.InitializedLayers == st.DelayedLayers
	return st
}
