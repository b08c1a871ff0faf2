package cpu

import (
	"github.com/fp8rewrite/fp8rewrite/float8"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/linear"
)

// layer is a Float8Linear of the model.
type layer struct {
	name  string
	op    *linear.Float8Linear
	stats runtime.LayerStats // of the present run
}

// layer makes a step of a Float8Linear, whether the model brings the function or not. Its layer takes the next place in
// Session.Layers.
func (c *compiler) layer(s *step) {
	s.layer = &layer{name: ops.LayerName(s.node)}
	s.layers = true
	c.layers = append(c.layers, s.layer)
}

// product gives the layer its operator.
func (c *compiler) product(p *program, s *step) error {
	op, err := linear.NewFloat8Linear(c.site(p, s, c.budget.take))
	if err != nil {
		return c.unsupported(s, err.Error())
	}
	s.layer.op = op
	s.control = s.layer
	return nil
}

func (*layer) programs() []*program { return nil }

func (l *layer) run(x *exec, _ []kernel.Value, c *kernel.Call) error {
	return l.fuse(x, c, linear.Fuse{})
}

// fuse runs the layer and notes what it saw. An iteration of a loop joins those before it.
func (l *layer) fuse(x *exec, c *kernel.Call, f linear.Fuse) error {
	var st linear.Stats
	err := guarded(func() (err error) {
		st, err = l.op.Run(c, linear.Options{Fuse: f, Counts: x.opt.Statistics, AllReduceMax: x.opt.AllReduceMax})
		return err
	})
	if err != nil {
		return err
	}
	l.stats.Runs++
	l.stats.AmaxInput = float8.MaxAmax(l.stats.AmaxInput, st.AmaxInput)
	l.stats.AmaxWeight = float8.MaxAmax(l.stats.AmaxWeight, st.AmaxWeight)
	l.stats.Input = l.stats.Input.Add(st.Input)
	l.stats.Weight = l.stats.Weight.Add(st.Weight)
	l.stats.Counted = x.opt.Statistics
	return nil
}
