package cpu

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// layer is a Float8Linear of the model.
type layer struct {
	name  string
	stats runtime.LayerStats // of the present run
}

// layer lowers a Float8Linear by its function's body.
func (c *compiler) layer(sc *scope, s *step, f *graph.Function) (done bool, err error) {
	if f == nil {
		return false, c.unsupported(s, "the model lacks the function")
	}
	return true, c.call(sc, s, f)
}
