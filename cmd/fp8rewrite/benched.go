package main

import (
	"cmp"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fp8rewrite/fp8rewrite/graph"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/rewrite"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// layerNames finds the layer that a step belongs to. Engines call a Float8Linear by its layer and other products by their node.
type layerNames struct {
	byNode  map[string]string
	float8  map[string]bool // layers that are a Float8Linear
	layers  map[string]bool
	product map[string]bool // layers that have a constant operand
}

func nameLayers(m *graph.Model) *layerNames {
	n := &layerNames{byNode: map[string]string{}, float8: map[string]bool{}, layers: map[string]bool{}, product: map[string]bool{}}
	for _, l := range rewrite.Inspect(m).Layers {
		if l.Node != "" {
			n.byNode[l.Node] = l.Name
		}
		n.layers[l.Name] = true
		if l.Float8 != nil {
			n.float8[l.Name] = true
		}
		if l.DType != "" {
			n.product[l.Name] = true
		}
	}
	return n
}

// of is the name of the layer of a step, "" where it is no part of a linear layer.
func (n *layerNames) of(s *runtime.StepTime) string {
	for _, name := range []string{s.Layer, n.byNode[s.Layer], n.byNode[s.Node]} {
		if name != "" && n.layers[name] && n.product[name] {
			return name
		}
	}
	return ""
}

// layerTime is the sum over the steps of a layer.
type layerTime struct {
	name            string
	time, product   time.Duration
	flops, bytes    float64
	kernel          string
	tokens, out, in int64
	productFLOPs    float64
}

// layers sums the steps of a profile by layer, in the order in which layers first have one.
func (t *timing) layers() []layerTime {
	var list []layerTime
	at := map[string]int{}
	for i := range t.profile.Steps {
		s := &t.profile.Steps[i]
		name := t.names.of(s)
		if name == "" {
			continue
		}
		k, ok := at[name]
		if !ok {
			k = len(list)
			at[name] = k
			list = append(list, layerTime{name: name})
		}
		l := &list[k]
		l.time += s.Time
		l.flops += s.FLOPs
		l.bytes += s.Bytes
		if s.FLOPs > 0 {
			l.product += s.Time
			l.productFLOPs += s.FLOPs
			l.kernel = s.Kernel
			l.tokens, l.out, l.in = sizes(s.Kernel)
		}
	}
	return list
}

var kernelSizes = regexp.MustCompile(` (\d+)x(\d+)x(\d+)\b`)

// sizes reads M, N and K from the name of a product: "matmul e4m3 8192x4096x4096".
func sizes(kernel string) (m, n, k int64) {
	x := kernelSizes.FindStringSubmatch(kernel)
	if x == nil {
		return 0, 0, 0
	}
	for i, to := range []*int64{&m, &n, &k} {
		*to, _ = strconv.ParseInt(x[i+1], 10, 64)
	}
	return m, n, k
}

var shapeInName = regexp.MustCompile(` *\b\d+(x\d+)+\b.*$`)

// kind is what runs, without the sizes.
func kind(kernel string) string { return shapeInName.ReplaceAllString(kernel, "") }

// fill puts the times of the models and of the layers into the section.
func (b *benchmark) fill(section *reports.Bench, timed []*timing) {
	for i, t := range timed {
		m := benched(filepath.Base(b.files[i].Path), t.profile)
		if i == 0 {
			section.Model = m
		} else {
			section.Against = &m
		}
	}
	if !timed[0].steps {
		return
	}
	was := map[string]layerTime{}
	if len(timed) > 1 {
		for _, l := range timed[1].layers() {
			was[l.name] = l
		}
	}
	for _, l := range timed[0].layers() {
		row := reports.BenchedLayer{Name: l.name, Tokens: l.tokens, OutFeatures: l.out, InFeatures: l.in, Kernel: l.kernel, Time: milliseconds(l.time),
			Matmul: milliseconds(l.product), Rate: rate(l.productFLOPs, l.product, 1e12), Memory: rate(l.bytes, l.time, 1e9)}
		if w, ok := was[l.name]; ok && w.time > 0 && l.time > 0 {
			row.Against, row.Speedup = new(milliseconds(w.time)), new(figure(w.time.Seconds()/l.time.Seconds()))
			row.Keep = timed[0].names.float8[l.name] && !timed[1].names.float8[l.name] && w.time <= l.time
		}
		section.Layers = append(section.Layers, row)
	}
}

// benched is the time of a model as a whole, and by what runs.
func benched(name string, p *runtime.Profile) reports.BenchedModel {
	m := reports.BenchedModel{Name: name, Median: milliseconds(p.Total), Fastest: milliseconds(p.Total), Slowest: milliseconds(p.Total),
		WeightBytes: p.Weights, ActivationBytes: p.Arena}
	if len(p.Totals) > 0 {
		m.Fastest, m.Slowest = milliseconds(slices.Min(p.Totals)), milliseconds(slices.Max(p.Totals))
	}
	type part struct {
		steps int64
		time  time.Duration
		bytes float64
	}
	parts := map[string]part{}
	flops := 0.
	for i := range p.Steps {
		s := &p.Steps[i]
		flops += s.FLOPs
		x := parts[kind(s.Kernel)]
		x.steps, x.time, x.bytes = x.steps+1, x.time+s.Time, x.bytes+s.Bytes
		parts[kind(s.Kernel)] = x
	}
	m.FLOPs, m.Rate = figure(flops), rate(flops, p.Total, 1e12)
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		x := parts[name]
		m.Parts = append(m.Parts, reports.BenchedPart{Name: name, Steps: x.steps, Time: milliseconds(x.time), Bytes: figure(x.bytes),
			Rate: rate(x.bytes, x.time, 1e9)})
	}
	slices.SortStableFunc(m.Parts, func(a, b reports.BenchedPart) int { return cmp.Compare(b.Time, a.Time) })
	return m
}

// judge fills in what follows from the times: how near to the card's ceilings the products are, and which layers to keep.
// all are the names of the layers that patterns must tell apart.
func judge(section *reports.Bench, all []string) {
	ceiling := map[string]reports.Float64{}
	for _, c := range section.Ceilings {
		ceiling[c.Name] = c.Value
	}
	compared := false
	for i := range section.Layers {
		l := &section.Layers[i]
		name := reports.CeilingBFloat16
		switch {
		case strings.Contains(l.Kernel, "e4m3") || strings.Contains(l.Kernel, "e5m2"):
			name = reports.CeilingFloat8
		case !strings.Contains(l.Kernel, "bf16") && !strings.Contains(l.Kernel, "bfloat16"):
			name = ""
		}
		if top := ceiling[name]; top > 0 && l.Rate > 0 {
			l.OfCeiling = new(figure(float64(l.Rate / top)))
		}
		compared = compared || l.Speedup != nil
	}
	if section.Against == nil || !compared {
		return
	}
	a := &reports.BenchAdvice{Keep: []string{}, CardMinDim: cardRule(section)}
	saved := 0.
	for _, l := range section.Layers {
		if l.Keep {
			a.Keep = append(a.Keep, l.Name)
			saved += float64(l.Time - *l.Against)
		}
	}
	a.Saved = figure(saved)
	a.Exclude = patterns(a.Keep, all)
	a.MinDim = shapeRule(section.Layers)
	section.Advice = a
}

// shapeRule is the --min-dim under which the layers need the least time: those with a smaller dimension are kept. 0 where that is no rule.
func shapeRule(layers []reports.BenchedLayer) int64 {
	var known []reports.BenchedLayer
	rules := []int64{0}
	for _, l := range layers {
		if l.Speedup == nil || l.OutFeatures == 0 {
			continue
		}
		known = append(known, l)
		rules = append(rules, min(l.OutFeatures, l.InFeatures), min(l.OutFeatures, l.InFeatures)+1)
	}
	slices.Sort(rules)
	total := func(rule int64) (sum float64) {
		for _, l := range known {
			if min(l.OutFeatures, l.InFeatures) < rule {
				sum += float64(*l.Against)
			} else {
				sum += float64(l.Time)
			}
		}
		return sum
	}
	best := int64(0)
	for _, rule := range rules {
		if total(rule) < total(best) {
			best = rule
		}
	}
	if best == 0 {
		return 0
	}
	// Of the rules that say the same the one that is a size of a layer that stays float8 reads best.
	for _, rule := range rules {
		if rule > best && total(rule) == total(best) {
			best = rule
		}
	}
	return best
}

// cardRule is the least of the features that were tried from which on float8 was faster in all: 0 where it was in all that were tried, -1
// where it was not in the largest.
func cardRule(section *reports.Bench) int64 {
	if len(section.Shapes) == 0 {
		return -1
	}
	shapes := slices.SortedFunc(slices.Values(section.Shapes), func(a, b reports.BenchedShape) int { return cmp.Compare(a.Features, b.Features) })
	from := len(shapes)
	for from > 0 && shapes[from-1].Speedup > 1 {
		from--
	}
	switch from {
	case 0:
		return 0
	case len(shapes):
		return -1
	}
	return shapes[from].Features
}

var digitsInName = regexp.MustCompile(`\d+`)

// patterns are globs and names that match the layers in keep and no other of all: one for layers that differ in a number alone, where all
// such are in keep.
func patterns(keep, all []string) []string {
	kept := map[string]bool{}
	for _, k := range keep {
		kept[k] = true
	}
	list := []string{}
	covered := map[string]bool{}
	for _, k := range keep {
		if covered[k] {
			continue
		}
		alone := rewrite.Literal(k)
		text := digitsInName.ReplaceAllString(k, "*")
		p, err := rewrite.ParsePattern(text)
		if text == k || alone != k || err != nil { // nothing to join, or characters that mean something in a pattern
			list = append(list, alone)
			continue
		}
		var matched []string
		only := true
		for _, name := range all {
			if p.Match(name) {
				matched = append(matched, name)
				only = only && kept[name]
			}
		}
		if !only || len(matched) < 2 {
			list = append(list, alone)
			continue
		}
		for _, name := range matched {
			covered[name] = true
		}
		list = append(list, text)
	}
	return list
}

// mostTokens is the number of rows that most of the layers have.
func mostTokens(layers []reports.BenchedLayer) int64 {
	count := map[int64]int{}
	best := int64(0)
	for _, l := range layers {
		if l.Tokens == 0 {
			continue
		}
		count[l.Tokens]++
		if n := count[l.Tokens]; n > count[best] || n == count[best] && l.Tokens > best {
			best = l.Tokens
		}
	}
	return best
}

// rate is work per second in units, 0 where nothing is known.
func rate(work float64, t time.Duration, unit float64) reports.Float64 {
	if t <= 0 {
		return 0
	}
	return figure(work / t.Seconds() / unit)
}

func milliseconds(t time.Duration) reports.Float64 { return figure(t.Seconds() * 1e3) }

// figure keeps the digits that a measurement has.
func figure(v float64) reports.Float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	return reports.Float64(rounded)
}
