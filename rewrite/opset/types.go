package opset

import (
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/shape"
)

// typer tells the types of values as they were before the lift.
type typer interface {
	Of(g *graph.Graph, name string) (graph.Type, bool)
}

type noTypes struct{}

func (noTypes) Of(*graph.Graph, string) (graph.Type, bool) { return graph.Type{}, false }

type bodyTypes func(name string) (graph.Type, bool)

func (t bodyTypes) Of(_ *graph.Graph, name string) (graph.Type, bool) { return t(name) }

// inferTypes asks before the first change: shape knows the operators of every version, but a snapshot knows no later names.
func inferTypes(m *graph.Model) typer { return shape.Infer(m) }
