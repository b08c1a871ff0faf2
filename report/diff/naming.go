package diff

import (
	"reflect"
	"slices"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// naming is what became of the layers from one report to the other, for the sections that name them again.
type naming struct {
	pairs   []pair            // of the layers
	partner []int             // of each new layer
	renamed map[string]string // old names to new ones, where all layers of a name have another one
	// told are names whose layers are on one side only, or were decided otherwise: that is said of the layers, and what follows from it
	// in other sections is not.
	told [2]map[string]bool
}

// newNaming finds which layers go together. Reports without layers have names that all stay.
func newNaming(old, new *report.Report) *naming {
	n := &naming{renamed: map[string]string{}, told: [2]map[string]bool{{}, {}}}
	n.pairs, n.partner = match(reflect.ValueOf(old.Layers), reflect.ValueOf(new.Layers), lists()["layers"], nil)
	n.neighbours(old.Layers, new.Layers)
	if len(old.Layers) == 0 || len(new.Layers) == 0 {
		return n
	}
	stays := map[string]bool{}
	for i, p := range n.pairs {
		was := &old.Layers[i]
		if p.new < 0 {
			n.told[0][was.Name] = true
			continue
		}
		is := &new.Layers[p.new]
		if was.Decision != is.Decision {
			n.told[0][was.Name], n.told[1][is.Name] = true, true
		}
		if to, twice := n.renamed[was.Name]; was.Name == is.Name || twice && to != is.Name {
			stays[was.Name] = true
		} else {
			n.renamed[was.Name] = is.Name
		}
	}
	for j, p := range n.partner {
		if p < 0 {
			n.told[1][new.Layers[j].Name] = true
		}
	}
	for name := range stays {
		delete(n.renamed, name)
	}
	return n
}

// of is the new name of the layer that had a name.
func (n *naming) of(name string) string {
	if to, ok := n.renamed[name]; ok {
		return to
	}
	return name
}

// neighbours pairs kept layers that are left over: they have no digest, but the same operator, reason and operand, and stand between the
// same layers.
func (n *naming) neighbours(old, new []report.Layer) {
	// beside reports whether what stands next to i and to j, by step, goes together, is left over on both sides, or is an end of both.
	beside := func(i, j, step int) bool {
		i, j = i+step, j+step
		oldEnd, newEnd := i < 0 || i >= len(old), j < 0 || j >= len(new)
		switch {
		case oldEnd || newEnd:
			return oldEnd && newEnd
		case n.pairs[i].new < 0:
			return n.partner[j] < 0
		}
		return n.pairs[i].new == j
	}
	for i := range old {
		if n.pairs[i].new >= 0 || old[i].Decision != report.Kept {
			continue
		}
		for j := range new {
			if n.partner[j] < 0 && alike(&old[i], &new[j]) && beside(i, j, -1) && beside(i, j, 1) {
				n.pairs[i].new, n.pairs[i].pass, n.partner[j] = j, byNeighbours, i
				break
			}
		}
	}
}

// byNeighbours is the pass of pairs that neighbours found.
const byNeighbours = -2

// alike reports whether two kept layers could be one with two names.
func alike(a, b *report.Layer) bool {
	return b.Decision == report.Kept && a.Op == b.Op && a.Graph == b.Graph && slices.Equal(a.Shape, b.Shape) && a.DTypeBefore == b.DTypeBefore &&
		a.Reason != nil && b.Reason != nil && a.Reason.Code == b.Reason.Code
}
