package diff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// differ walks two reports side by side.
type differ struct {
	tolerance map[string]Tolerance // by the name of the field
	gates     map[string]Tolerance // by the gate, of its values
	kinds     map[string]Kind
	lists     map[string]list
	fields    map[reflect.Type][]field
	minor     int                // of the older schema version
	moved     map[string]bool    // sections that ran on different devices
	made      [2]string          // digest of the model that each side's calibration made; "" for none
	output    [2]string          // digests of the two output models
	said      map[[2]string]bool // pairs of digests that were found to differ, which need not be said of the sources again
	names     *naming            // what became of the layers
	findings  []Finding
}

// field is a field of the schema, as its tags declare it.
type field struct {
	index       int
	name, class string
	since       int
}

func newDiffer(old, new *report.Report, t Tolerances) *differ {
	d := &differ{kinds: kindsByPath(), lists: lists(), tolerance: map[string]Tolerance{}, gates: map[string]Tolerance{}, fields: map[reflect.Type][]field{},
		minor: min(minor(old.SchemaVersion), minor(new.SchemaVersion)),
		moved: map[string]bool{}, made: [2]string{made(old), made(new)}, said: map[[2]string]bool{}, names: newNaming(old, new)}
	for name, c := range classesByName() {
		d.tolerance[name] = t.of(c)
	}
	for gate, c := range classesByGate() {
		d.gates[gate] = t.of(c)
	}
	if old.Model.Output != nil && new.Model.Output != nil {
		d.output = [2]string{old.Model.Output.SHA256, new.Model.Output.SHA256}
	}
	was, is := devices(old), devices(new)
	for section, device := range was {
		d.moved[section] = device != "" && is[section] != "" && device != is[section]
	}
	return d
}

// devices are what ran the sections that a report has.
func devices(r *report.Report) map[string]string {
	names := map[string]string{}
	if r.Calibration != nil {
		names["calibration"] = r.Calibration.Settings.Device
	}
	if r.Verification != nil {
		names["verification"] = r.Verification.Settings.Device
	}
	if r.Bench != nil {
		names["bench"] = r.Bench.Settings.Device
	}
	return names
}

// made is the digest of the model that the report's calibration made; "" where there is none, or it kept no model.
func made(r *report.Report) string {
	switch r.Kind {
	case report.KindCalibrate:
		if r.Model.Output != nil {
			return r.Model.Output.SHA256
		}
	case report.KindMerged:
		for _, s := range r.Sources {
			if s.Kind == report.KindCalibrate {
				return s.OutputSHA256
			}
		}
	}
	return ""
}

// minor is the part of a version behind the dot. Decode has checked it; of a report that was not decoded everything is compared.
func minor(version string) int {
	_, text, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(text)
	if err != nil {
		return math.MaxInt
	}
	return n
}

func (d *differ) compare(old, new *report.Report) {
	if old.Kind == new.Kind {
		d.value(reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem(), nil, field{})
		return
	}
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(new).Elem()
	for _, f := range d.schema(a.Type()) {
		switch f.name {
		case "schema_version", "kind", "settings":
			d.value(a.Field(f.index), b.Field(f.index), &place{name: f.name}, f)
		case "model": // its output is what the job made
			at := &place{parent: &place{name: "model"}, name: "input"}
			d.value(reflect.ValueOf(old.Model.Input), reflect.ValueOf(new.Model.Input), at, f)
		}
	}
}

func (d *differ) schema(t reflect.Type) []field {
	if fields, ok := d.fields[t]; ok {
		return fields
	}
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		f := field{index: i, name: tag.Get("json"), class: tag.Get("class")}
		if s := tag.Get("since"); s != "" {
			f.since = minor(s)
		}
		if f.class != "volatile" && f.since <= d.minor {
			fields = append(fields, f)
		}
	}
	d.fields[t] = fields
	return fields
}

// value compares two values of one type; f is the field that holds them.
func (d *differ) value(a, b reflect.Value, at *place, f field) {
	switch a.Kind() {
	case reflect.Pointer:
		switch {
		case a.IsNil() && b.IsNil():
		case a.IsNil() || b.IsNil():
			if at.parent == nil { // the section of a merged report: its sources say so
				return
			}
			if d.uncounted(at, f) {
				return
			}
			kind := d.kindAt(at.pattern())
			if f.class == "tolerant" || a.Type() == reflect.TypeFor[*report.QuantScale]() || a.Type() == reflect.TypeFor[*report.TaskMetric]() {
				kind = FigureChanged
			}
			d.add(kind, at, text(a), text(b), "")
		default:
			d.value(a.Elem(), b.Elem(), at, f)
		}
	case reflect.Struct:
		if a.Type() == reflect.TypeFor[report.Layer]() {
			d.layer(a, b, at, false)
			return
		}
		d.members(a, b, at, nil)
	case reflect.Slice:
		switch {
		case a.Type().Elem().Kind() == reflect.Struct:
			d.list(a, b, at)
		case f.class == "tolerant":
			d.series(a, b, at, d.tolerance[f.name])
		default:
			d.exactList(a, b, at)
		}
	default:
		d.leaf(a, b, at, f)
	}
}

// members compares the fields of a struct, but for those named.
func (d *differ) members(a, b reflect.Value, at *place, but map[string]bool) {
	for _, f := range d.schema(a.Type()) {
		if !but[f.name] {
			d.value(a.Field(f.index), b.Field(f.index), &place{parent: at, name: f.name}, f)
		}
	}
}

// exactList compares a list of plain values as one.
func (d *differ) exactList(a, b reflect.Value, at *place) {
	same := a.Len() == b.Len()
	layers := at.pattern() == "verification.exclusion.layers" || at.pattern() == "bench.advice.keep"
	for i := 0; same && i < a.Len(); i++ {
		same = a.Index(i).Equal(b.Index(i)) || layers && d.names.of(a.Index(i).String()) == b.Index(i).String()
	}
	if !same {
		d.add(d.exactKind(at), at, text(a), text(b), "")
	}
}

func (d *differ) leaf(a, b reflect.Value, at *place, f field) {
	if f.class != "tolerant" {
		if a.Kind() == reflect.String && strings.HasSuffix(f.name, "sha256") && !a.Equal(b) {
			digests := [2]string{a.String(), b.String()}
			if d.said[digests] && strings.HasSuffix(f.name, "put_sha256") {
				return
			}
			d.said[digests] = true
			kind := d.exactKind(at)
			if kind == OutputChanged && d.rounded(digests) { // another device stores scales that differ in their last bits
				kind = OutputRounded
			}
			d.add(kind, at, text(a), text(b), "")
			return
		}
		if !a.Equal(b) && !(a.CanFloat() && math.IsNaN(a.Float()) && math.IsNaN(b.Float())) {
			d.add(d.exactKind(at), at, text(a), text(b), "")
		}
		return
	}
	t := d.tolerance[f.name]
	if x, y := number(a), number(b); !t.equal(x, y) {
		d.add(figureKind(x, y), at, text(a), text(b), "")
	}
}

// exactKind is the kind of a difference of an exact leaf.
func (d *differ) exactKind(at *place) Kind {
	pattern := at.pattern()
	kind := d.kindAt(pattern)
	section, _, _ := strings.Cut(pattern, ".")
	switch {
	case kind == OutputChanged && strings.HasSuffix(pattern, ".xxh64") && d.rounded(d.output):
		return OutputRounded
	case kind == PlacementChanged && d.moved[section]:
		return DeviceChanged
	}
	return kind
}

// rounded reports whether digests are those of the models that the two calibrations made, and the calibrations ran on different devices:
// no other file follows from a device.
func (d *differ) rounded(digests [2]string) bool {
	return d.moved["calibration"] && digests == d.made && digests[0] != "" && digests[1] != ""
}

// uncounted reports whether a figure is missing on one side because that side's device does not count what casts do.
func (d *differ) uncounted(at *place, f field) bool {
	switch f.name {
	case "elements", "saturated", "flushed", "nonfinite", "saturation_rate", "flush_rate":
		return d.moved["calibration"] && strings.HasPrefix(at.pattern(), "calibration.layers[].")
	}
	return false
}

func figureKind(a, b float64) Kind {
	if finite(a) != finite(b) {
		return FigureNotFinite
	}
	return FigureChanged
}

func number(v reflect.Value) float64 {
	if v.CanInt() {
		return float64(v.Int())
	}
	return v.Float()
}

// series compares figures step by step, and reports the step that differs most.
func (d *differ) series(a, b reflect.Value, at *place, t Tolerance) {
	if a.Len() != b.Len() {
		d.add(FigureChanged, at, strconv.Itoa(a.Len()), strconv.Itoa(b.Len()), "the number of entries differs")
		return
	}
	var apart []int
	switch x := a.Interface().(type) {
	case []report.Float32:
		apart = beyond(x, b.Interface().([]report.Float32), t)
	case []report.Float64:
		apart = beyond(x, b.Interface().([]report.Float64), t)
	default:
		panic(fmt.Sprintf("report/diff: a series of %s", a.Type()))
	}
	if len(apart) == 0 {
		return
	}
	worst, kind := apart[0], FigureChanged
	most := -1.0
	for _, i := range apart {
		x, y := a.Index(i).Float(), b.Index(i).Float()
		by := math.Abs(x-y) / max(math.Abs(x), math.Abs(y))
		if finite(x) != finite(y) { // the first of them
			by, kind = math.Inf(1), FigureNotFinite
		}
		if by > most {
			worst, most = i, by
		}
	}
	d.add(kind, &place{parent: at, index: worst, entry: true}, text(a.Index(worst)), text(b.Index(worst)),
		fmt.Sprintf("%d of %d differ, this one most", len(apart), a.Len()))
}

// beyond are the indices at which a and b are not equal within t.
func beyond[F report.Float32 | report.Float64](a, b []F, t Tolerance) []int {
	var apart []int
	for i, x := range a {
		if x != b[i] && !t.equal(float64(x), float64(b[i])) {
			apart = append(apart, i)
		}
	}
	return apart
}

// layer compares two decisions about one layer. Where the decision is another, what follows from it is left out; where the layer was
// renamed, the other names are.
func (d *differ) layer(a, b reflect.Value, at *place, renamed bool) {
	old, new := a.Interface().(report.Layer), b.Interface().(report.Layer)
	but := map[string]bool{"shared_with": d.names.of(old.SharedWith) == new.SharedWith}
	if renamed {
		but = map[string]bool{"name": true, "node": true, "weight": true, "shared_with": true}
	}
	if old.Decision != new.Decision {
		d.add(DecisionChanged, at, quote(decision(&old)), quote(decision(&new)), "")
		for _, f := range []string{"decision", "rule", "reason", "weight_xxh64", "shared_with", "shape", "dtype_after", "input_scaling", "amax",
			"quant_scale", "weight_sqnr_db", "weight_exact", "saturated", "flushed", "bytes_after"} {
			but[f] = true
		}
	} else if old.Reason != nil && new.Reason != nil && old.Reason.Code == new.Reason.Code && renamed {
		but["reason"] = true // the sentence has the names
	}
	d.members(a, b, at, but)
}

// decision is the decision in words: "rewritten (gemm)", "kept (excluded: the layer matches ...)".
func decision(l *report.Layer) string {
	switch {
	case l.Rule != "":
		return fmt.Sprintf("%s (%s)", l.Decision, l.Rule)
	case l.Reason != nil:
		return fmt.Sprintf("%s (%s: %s)", l.Decision, l.Reason.Code, l.Reason.Sentence)
	}
	return string(l.Decision)
}

func (d *differ) add(kind Kind, at *place, old, new, detail string) {
	d.findings = append(d.findings, Finding{Kind: kind, Path: at.String(), Old: old, New: new, Detail: detail})
}

// text is a value as JSON on one line.
func text(v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.Len() == 0 { // nil or not
		return "[]"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v.Interface()); err != nil {
		return "null" // no value of the schema does this
	}
	return escapeUnsafe(strings.TrimSuffix(b.String(), "\n"))
}
