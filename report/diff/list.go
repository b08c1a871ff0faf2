package diff

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// list says how the entries of a list find their partners, and what one without a partner is.
type list struct {
	// passes are the fields that must be equal, pass by pass; what one pass leaves over the next one looks at. A pass whose first
	// field is empty takes nothing. Of entries that are alike the first goes with the first.
	passes [][]string
	// rest says that what is left over goes together in order.
	rest           bool
	added, removed Kind // "": what the list's path says
	ordered        bool // another order is a difference
	// named is the field of an entry that has a layer's name: entries of a renamed layer go together, and those of a layer that is there
	// on one side only, or was decided otherwise, need none.
	named string
}

// lists are the lists of structs, by path. A list that is not here is compared by position.
func lists() map[string]list {
	layers := func(passes ...[]string) list {
		return list{passes: passes, added: LayerAdded, removed: LayerRemoved, ordered: true}
	}
	inGraph, byName := []string{"name", "graph"}, []string{"name"}
	values := list{passes: [][]string{byName}, added: ValueAdded, removed: ValueRemoved, ordered: true}
	placements := list{passes: [][]string{{"model", "layer", "node", "op"}, {"model", "layer", "op"}}, named: "layer"}
	of := func(l list, field string) list {
		l.named = field
		return l
	}
	return map[string]list{
		"layers":                         layers(inGraph, byName, []string{"weight_xxh64", "shape", "graph"}, []string{"weight_xxh64", "shape"}),
		"calibration.layers":             of(layers(inGraph, byName), "name"),
		"verification.models":            {passes: [][]string{{"recipe"}}, rest: true, added: ValueAdded, removed: ValueRemoved},
		"verification.models[].layers":   of(layers(byName), "name"),
		"verification.models[].outputs":  values,
		"verification.models[].failures": {passes: [][]string{{"gate", "subject"}}, added: GateFailed, removed: GateMet},
		// The order of these follows from figures that are compared.
		"verification.sensitivity":          {passes: [][]string{byName}, added: LayerAdded, removed: LayerRemoved, named: "name"},
		"verification.settings.gates":       {passes: [][]string{byName}},
		"verification.exclusion.outputs":    {passes: [][]string{byName}},
		"calibration.execution.placements":  placements,
		"verification.execution.placements": placements,
		"bench.execution.placements":        placements,
		"bench.settings.inputs":             {passes: [][]string{byName}},
		"bench.ceilings":                    {passes: [][]string{byName}},
		"bench.model.parts":                 {passes: [][]string{byName}},
		"bench.against.parts":               {passes: [][]string{byName}},
		"bench.layers":                      of(layers(byName), "name"),
		"bench.shapes":                      {passes: [][]string{{"tokens", "features"}}},
		"sources":                           {passes: [][]string{{"kind"}}, added: SectionAdded, removed: SectionRemoved},
		"changes":                           {passes: [][]string{{"code", "subject"}}, added: ModelChangeAdded, removed: ModelChangeRemoved, ordered: true, named: "subject"},
		"warnings":                          {passes: [][]string{{"code", "subject"}}, added: WarningAdded, removed: WarningRemoved, ordered: true, named: "subject"},
		"model.input.opsets":                {passes: [][]string{{"domain"}}, ordered: true},
		"model.output.opsets":               {passes: [][]string{{"domain"}}, ordered: true},
		"model.input.external_files":        {passes: [][]string{byName}, ordered: true},
		"model.output.external_files":       {passes: [][]string{byName}, ordered: true},
		"totals.rules":                      {passes: [][]string{{"code"}}},
		"totals.reasons":                    {passes: [][]string{{"code"}}},
	}
}

// pair is two entries that go together; pass is the one that found them.
type pair struct{ old, new, pass int }

// list compares two lists of structs.
func (d *differ) list(a, b reflect.Value, at *place) {
	pattern := at.pattern()
	l, known := d.lists[pattern]
	if !known {
		l = list{rest: true}
	}
	pairs, partnerOf := d.names.pairs, d.names.partner
	if pattern != "layers" {
		pairs, partnerOf = match(a, b, l, d.names)
	}
	added, removed := l.added, l.removed
	if added == "" {
		added, removed = d.exactKind(at), d.exactKind(at)
	}
	last, moved := -1, -1
	for i := range a.Len() {
		p := pairs[i]
		if p.new < 0 {
			if l.tells(a.Index(i), d.names.told[0]) {
				continue
			}
			d.add(removed, entryAt(a, i, at, l), brief(a.Index(i)), "null", "")
			continue
		}
		if p.new < last && moved < 0 {
			moved = i
		}
		last = max(last, p.new)
		d.entry(a.Index(i), b.Index(p.new), entryAt(a, i, at, l), l, p.pass)
	}
	for j := range b.Len() {
		if partnerOf[j] < 0 && !l.tells(b.Index(j), d.names.told[1]) {
			d.add(added, entryAt(b, j, at, l), "null", brief(b.Index(j)), "")
		}
	}
	if l.ordered && moved >= 0 {
		d.add(OrderChanged, entryAt(a, moved, at, l), strconv.Itoa(moved), strconv.Itoa(pairs[moved].new), "the first that stands elsewhere")
	}
}

// entry compares two entries that go together.
func (d *differ) entry(a, b reflect.Value, at *place, l list, pass int) {
	if a.Type() == reflect.TypeFor[report.Layer]() {
		renamed := pass == byNeighbours || pass >= 0 && pass < len(l.passes) && l.passes[pass][0] == "weight_xxh64"
		if renamed {
			d.add(LayerRenamed, at, text(a.FieldByName("Name")), text(b.FieldByName("Name")), "")
		}
		d.layer(a, b, at, renamed)
		return
	}
	if x, ok := a.Interface().(report.GateFailure); ok {
		y := b.Interface().(report.GateFailure)
		if t := d.gates[x.Gate]; !t.equal(float64(x.Value), float64(y.Value)) {
			d.add(figureKind(float64(x.Value), float64(y.Value)), &place{parent: at, name: "value"}, text(reflect.ValueOf(x.Value)), text(reflect.ValueOf(y.Value)), "")
		}
		return
	}
	var but map[string]bool
	if l.named != "" && d.names.of(fieldNamed(a, l.named).String()) != fieldNamed(a, l.named).String() {
		but = map[string]bool{"name": true, "node": true, "layer": true, "value": true, "subject": true, "sentence": true} // names all
	}
	d.members(a, b, at, but)
}

// tells reports whether an entry that has no partner is about a layer of which enough is said.
func (l *list) tells(entry reflect.Value, told map[string]bool) bool {
	if l.named == "" || len(told) == 0 {
		return false
	}
	return told[fieldNamed(entry, l.named).String()]
}

// match finds the partners: of each entry of a the pair, whose new is −1 where there is none, and of each entry of b its partner or −1.
// The entries of a are looked for by the new names of their layers.
func match(a, b reflect.Value, l list, names *naming) (pairs []pair, partnerOf []int) {
	pairs, partnerOf = make([]pair, a.Len()), make([]int, b.Len())
	for i := range pairs {
		pairs[i] = pair{i, -1, -1}
	}
	for j := range partnerOf {
		partnerOf[j] = -1
	}
	join := func(i, j, pass int) { pairs[i].new, pairs[i].pass, partnerOf[j] = j, pass, i }
	for n, fields := range l.passes {
		free := map[string][]int{}
		for j, p := range partnerOf {
			if k, ok := key(b.Index(j), fields, "", nil); ok && p < 0 {
				free[k] = append(free[k], j)
			}
		}
		for i := range pairs {
			if pairs[i].new >= 0 {
				continue
			}
			k, ok := key(a.Index(i), fields, l.named, names)
			if candidates := free[k]; ok && len(candidates) > 0 {
				join(i, candidates[0], n)
				free[k] = candidates[1:]
			}
		}
	}
	if l.rest {
		j := 0
		for i := range pairs {
			for j < len(partnerOf) && partnerOf[j] >= 0 {
				j++
			}
			if pairs[i].new < 0 && j < len(partnerOf) {
				join(i, j, len(l.passes))
			}
		}
	}
	return pairs, partnerOf
}

// key joins the fields of an entry by which a pass compares. The name of an entry may be empty, a digest that is says nothing.
func key(v reflect.Value, fields []string, named string, names *naming) (string, bool) {
	k := ""
	for _, n := range fields {
		f := fieldNamed(v, n)
		if (n == "weight_xxh64" || n == "layer" && !slices.Contains(fields, "node")) && f.String() == "" {
			return "", false
		}
		part := fmt.Sprint(f.Interface())
		if n == named && names != nil {
			part = names.of(part)
		}
		k += strconv.Itoa(len(part)) + ":" + part
	}
	return k, true
}

// fieldNamed is the field of a struct of the schema with the JSON name.
func fieldNamed(v reflect.Value, name string) reflect.Value {
	t := v.Type()
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("json") == name {
			return v.Field(i)
		}
	}
	panic(fmt.Sprintf("report/diff: %s has no field %q", t, name))
}

// entryAt is the place of an entry: by its key, or by its index where it has none.
func entryAt(v reflect.Value, i int, at *place, l list) *place {
	p := &place{parent: at, index: i, entry: true}
	if len(l.passes) == 0 {
		return p
	}
	p.keyed = true
	for _, n := range l.passes[0] {
		text := fmt.Sprint(fieldNamed(v.Index(i), n).Interface())
		switch {
		case n == "graph":
			p.graph = text
		case p.name == "":
			p.name = text
		case text != "":
			p.name += " " + text
		}
	}
	return p
}

// brief is what a finding shows of an entry that is there on one side only.
func brief(v reflect.Value) string {
	switch e := v.Interface().(type) {
	case report.Layer:
		return quote(decision(&e))
	case report.Change:
		return quote(e.Sentence)
	case report.Warning:
		return quote(e.Sentence)
	case report.CalibratedLayer:
		return quote(e.Name)
	case report.VerifiedModel:
		return quote(e.Recipe)
	}
	return text(v)
}
