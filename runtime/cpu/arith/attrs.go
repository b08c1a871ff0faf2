package arith

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// attrs are the attributes that an operator knows, by name.
type attrs map[string]graph.AttributeKind

// check refuses attributes of the node that are not among want: what the specification does not name could change the meaning.
func check(s *kernel.Site, want attrs) error {
	for _, a := range s.Node.Attributes {
		kind, ok := want[a.Name]
		if !ok {
			return fmt.Errorf("attribute %q is not known", a.Name)
		}
		if kind != a.Kind {
			return fmt.Errorf("attribute %q has kind %d, want %d", a.Name, a.Kind, kind)
		}
	}
	return nil
}

// flag is an integer attribute that is used as a truth value.
func flag(s *kernel.Site, name string, def int64) bool { return s.Node.AttrInt(name, def) != 0 }

// number is a float attribute as the operators compute with it.
func number(s *kernel.Site, name string, def float32) float64 {
	return float64(s.Node.AttrFloat(name, def))
}

// plain is a Maker for an operator without attributes.
func plain(f kernel.Func) kernel.Maker {
	return func(s *kernel.Site) (kernel.Func, error) {
		if err := check(s, nil); err != nil {
			return nil, err
		}
		return f, nil
	}
}
