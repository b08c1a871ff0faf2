package runtime

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/ops"
)

// LayerName is [ops.LayerName].
func LayerName(n *graph.Node) string { return ops.LayerName(n) }
