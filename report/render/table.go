package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// Options say where a report is shown.
type Options struct {
	// Width is the number of columns of the terminal; 0 means any, as for a file or a pipe.
	Width int
	// Color allows ANSI colors; see Color.
	Color bool
	// All gives each layer a row and each kept layer a sentence. Without it, layers that have no weight and share a reason become
	// one row where they are more than a few, and only the first few sentences of a reason are shown.
	All bool

	marked *marked // where other forms than the table go
}

const (
	fewLayers = 3  // layers without a weight and with one reason that still get a row each
	maxName   = 64 // columns of a name in a wide table
	minName   = 20 // and in a narrow one, before columns are left out
)

// Table writes r for a terminal: the model and settings, a row for each layer (operand, of a calibration; output and layer, of a
// verification), totals, then the reasons,
// changes and warnings in words. Names from the model cannot break a line or steer the terminal. On a terminal too narrow for the table, names are cut and
// then whole columns left out, which a line below the table says.
func Table(w io.Writer, r *report.Report, o Options) error {
	var b strings.Builder
	if err := o.write(&b, r); err != nil {
		return fmt.Errorf("report: table: %w", err)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("report: write: %w", err)
	}
	return nil
}

// write writes all parts of the report.
func (o Options) write(b *strings.Builder, r *report.Report) error {
	o.head(b, r)
	sections := o.sections(r)
	for _, s := range sections {
		switch {
		case o.marked != nil:
			o.marked.section(b, s.title)
		case len(sections) > 1:
			fmt.Fprintf(b, "\n%s\n", o.paint(bold, s.title))
		}
		if err := s.write(b, r); err != nil {
			return err
		}
	}
	if o.marked != nil {
		o.marked.section(b, "")
	}
	o.elsewhere(b, r)
	o.reasons(b, r)
	if len(r.Changes) > 0 {
		fmt.Fprintf(b, "\n%s\n", o.paint(bold, "Changes to the model"))
		for _, c := range r.Changes {
			o.item(b, string(c.Code), "", c.Sentence)
		}
	}
	if len(r.Warnings) > 0 {
		fmt.Fprintf(b, "\n%s\n", o.paint(bold, "Warnings"))
		for _, c := range r.Warnings {
			o.item(b, string(c.Code), yellow, c.Sentence)
		}
	}
	return nil
}

// section is what one job has to say.
type section struct {
	title string
	write func(*strings.Builder, *report.Report) error
}

// sections are those that a report has, in the order of the jobs.
func (o Options) sections(r *report.Report) []section {
	var s []section
	if len(r.Layers) > 0 || r.Calibration == nil && r.Verification == nil && r.Bench == nil {
		s = append(s, section{"Conversion", o.layers})
	}
	if r.Calibration != nil {
		s = append(s, section{"Calibration", o.calibration})
	}
	if r.Verification != nil {
		s = append(s, section{"Verification", o.verification})
	}
	if r.Bench != nil {
		s = append(s, section{"Benchmark", o.benchmark})
	}
	return s
}

// head writes what went in, what came out and how.
func (o Options) head(b *strings.Builder, r *report.Report) {
	in, out := &r.Model.Input, r.Model.Output
	names, opset, ir, bytes := safe(in.Name, maxName), count(in.Opset), count(in.IRVersion), size(in.Bytes)
	recipes := r.Kind == report.KindVerify && r.Verification != nil && len(r.Verification.Models) > 1 // made on the way, and not kept
	switch {
	case recipes:
	case r.Kind == report.KindBench && r.Bench != nil:
		if a := r.Bench.Against; a != nil {
			names += " against " + safe(a.Name, maxName)
		}
	case out == nil:
		names += " (no output)"
	default:
		names += arrow + safe(out.Name, maxName)
		if out.SHA256 == "" {
			names += " (planned, not written)"
		}
		opset, ir = change(opset, count(out.Opset)), change(ir, count(out.IRVersion))
		bytes = change(bytes, size(out.Bytes))
	}
	fmt.Fprintln(b, o.paint(bold, wrap(names, o.Width, "  ")))
	what := fmt.Sprintf("%s, opset %s, IR %s, %s", word(in.Format), opset, ir, bytes)
	if IsCheckpoint(in) || out != nil && IsCheckpoint(out) {
		what = about(r)
	}
	fmt.Fprintln(b, wrap(what, o.Width, "  "))
	if recipes {
		return
	}
	fmt.Fprintln(b, wrap(state(r), o.Width, "  "))
}

// state says how layers are scaled, and how far that has come.
func state(r *report.Report) string {
	if Restored(r) {
		return line(r.Settings.Recipe)
	}
	state, scales := calibration(r.State), Scales(r)
	if r.Kind == report.KindConvert && r.Totals.Rewritten == 0 && !holdsFloat8(r) {
		state = "no float8 layers"
	}
	switch {
	case scales != "":
		return scales + ", " + state
	case r.Settings.Recipe != "":
		return "recipe " + line(r.Settings.Recipe) + ", " + state
	}
	return state
}

// calibration says how far the state of delayed layers has come.
func calibration(s report.State) string {
	switch {
	case s.DelayedLayers == 0:
		return "needs no calibration"
	case s.Calibrated:
		return "calibrated"
	}
	return fmt.Sprintf("not calibrated (%s of %s delayed layers initialized)", count(s.InitializedLayers), count(s.DelayedLayers))
}

// holdsFloat8 reports whether the model had float8 layers before.
func holdsFloat8(r *report.Report) bool {
	for _, c := range r.Totals.Reasons {
		if c.Code == report.ReasonAlreadyFloat8 {
			return true
		}
	}
	return false
}

// column is one column of the table. Those with a higher rank leave a narrow table first.
type column struct {
	title  string
	right  bool
	rank   int
	dtypes bool // its cells are element types, which have short names
}

// The name and the rule stay in the narrowest table.
var tableColumns = []column{
	{title: "layer"}, {title: "op", rank: 9}, {title: "rule or reason"}, {title: "shape", rank: 2}, {title: "dtype", rank: 5, dtypes: true},
	{title: "amax", right: true, rank: 7}, {title: "scale", right: true, rank: 6}, {title: "SQNR dB", right: true, rank: 1},
	{title: "saturated", right: true, rank: 4}, {title: "flushed", right: true, rank: 8}, {title: "bytes", right: true, rank: 3},
}

const nameColumn, ruleColumn = 0, 2

// layers writes the table itself.
func (o Options) layers(b *strings.Builder, r *report.Report) error {
	if len(r.Layers) == 0 {
		what := "The model has no MatMul, Gemm or Float8Linear."
		if IsCheckpoint(&r.Model.Input) {
			what = "The checkpoint has no matrix."
		}
		fmt.Fprintf(b, "\n%s\n", what)
		return nil
	}
	rows := o.rows(r)
	t := &r.Totals
	footer := []string{count(t.Rewritten) + " of " + layers(t.Layers), "", "rewritten", short(t.Elements), "", "", "", "",
		count(t.Saturated), count(t.Flushed), change(size(t.BytesBefore), size(t.BytesAfter))}
	return o.sheet(b, tableColumns, rows, footer, ruleColumn)
}

// sheet writes rows under the columns that fit; footer may be nil. Each row's color goes to the cell of the column painted.
func (o Options) sheet(b *strings.Builder, cols []column, rows []row, footer []string, painted int) error {
	if o.marked != nil {
		o.marked.sheet(b, cols, rows, footer)
		return nil
	}
	shown, left := o.fit(cols, rows, footer)
	pick := func(cells []string, p paint) []string {
		if cells == nil {
			return nil
		}
		picked := make([]string, len(shown))
		for i, c := range shown {
			picked[i] = o.paint(p, cells[c])
		}
		return picked
	}
	titles := make([]string, len(cols))
	for i, c := range cols {
		titles[i] = c.title
	}
	g := grid{titles: pick(titles, bold), footer: pick(footer, bold)}
	for _, c := range shown {
		g.right = append(g.right, cols[c].right)
	}
	for _, row := range rows {
		cells := pick(row.cells, "")
		for i, c := range shown {
			if c == painted {
				cells[i] = o.paint(row.paint, cells[i])
			}
		}
		g.rows = append(g.rows, cells)
	}
	b.WriteByte('\n')
	if err := g.write(b); err != nil {
		return err
	}
	if len(left) > 0 {
		note := fmt.Sprintf("Left out at %d columns: %s. The JSON report and a wider terminal have them.", o.Width, strings.Join(left, ", "))
		fmt.Fprintln(b, o.paint(dim, wrap(note, o.Width, "")))
	}
	return nil
}

// row is one line of the table.
type row struct {
	cells []string
	paint paint // of the rule or reason
}

// rows gives each layer its row, and folds the many that have no weight.
func (o Options) rows(r *report.Report) []row {
	folded := map[report.ReasonCode]int64{}
	for i := range r.Layers {
		if l := &r.Layers[i]; foldable(l) {
			folded[l.Reason.Code]++
		}
	}
	var rows []row
	for i := range r.Layers {
		l := &r.Layers[i]
		if !o.All && foldable(l) && folded[l.Reason.Code] > fewLayers {
			continue
		}
		rows = append(rows, layerRow(l))
	}
	if o.All {
		return rows
	}
	for _, c := range r.Totals.Reasons {
		if n := folded[c.Code]; n > fewLayers {
			cells := make([]string, len(tableColumns))
			cells[nameColumn], cells[ruleColumn] = "("+layers(n)+")", word(string(c.Code))
			rows = append(rows, row{cells, yellow})
		}
	}
	return rows
}

// foldable reports whether a layer was kept and has no weight to show.
func foldable(l *report.Layer) bool {
	return l.Decision == report.Kept && l.Weight == "" && l.Reason != nil
}

func layerRow(l *report.Layer) row {
	name := safe(l.Name, maxName)
	if l.Graph != "" {
		name = cut(name+" in "+safe(l.Graph, maxName), maxName)
	}
	if l.Decision != report.Rewritten {
		why := none
		if l.Reason != nil {
			why = word(string(l.Reason.Code))
		}
		bytes := none
		if l.BytesBefore > 0 || l.BytesAfter > 0 {
			bytes = change(size(l.BytesBefore), size(l.BytesAfter))
		}
		return row{[]string{name, word(l.Op), why, shape(l.Shape), change(word(l.DTypeBefore), word(l.DTypeAfter)), amax(l), scale(l.QuantScale),
			sqnr(l), none, none, bytes}, yellow}
	}
	bytes := change(size(l.BytesBefore), size(l.BytesAfter))
	if l.SharedWith != "" {
		bytes = "shared"
	}
	return row{[]string{name, word(l.Op), word(string(l.Rule)), shape(l.Shape), change(word(l.DTypeBefore), word(l.DTypeAfter)), amax(l),
		scale(l.QuantScale), sqnr(l), count(l.Saturated), count(l.Flushed), bytes}, green}
}

// fit chooses the columns to show, as indices, and the titles of those left out. Where the table is too wide it shortens element
// types, then leaves out columns, then cuts names to the room that is left.
func (o Options) fit(cols []column, rows []row, footer []string) (shown []int, left []string) {
	widths := make([]int, len(cols))
	measure := func(c int) {
		widths[c] = columns(cols[c].title)
		if footer != nil {
			widths[c] = max(widths[c], columns(footer[c]))
		}
		for _, r := range rows {
			widths[c] = max(widths[c], columns(r.cells[c]))
		}
	}
	gone := make([]bool, len(cols))
	room := func() int { // what is left for names
		rest := o.Width
		for c := range cols {
			if c != nameColumn && !gone[c] {
				rest -= widths[c] + 2
			}
		}
		return rest
	}
	for c := range cols {
		measure(c)
	}
	narrow := func() bool { return o.Width > 0 && room() < min(widths[nameColumn], minName) }
	for c := range cols {
		if !cols[c].dtypes || !narrow() {
			continue
		}
		for _, r := range rows {
			r.cells[c] = shortDTypes.Replace(r.cells[c])
		}
		measure(c)
	}
	for narrow() {
		worst := nameColumn
		for c := range cols {
			if !gone[c] && cols[c].rank > cols[worst].rank {
				worst = c
			}
		}
		if worst == nameColumn {
			break
		}
		gone[worst] = true
	}
	// A wide column that left may have made room for narrow ones that left before it.
	for rank := 1; o.Width > 0 && rank < 10; rank++ {
		for c := range cols {
			if gone[c] && cols[c].rank == rank {
				gone[c] = false
				gone[c] = narrow()
			}
		}
	}
	if o.Width > 0 {
		names := max(room(), 8)
		for _, r := range rows {
			r.cells[nameColumn] = cut(r.cells[nameColumn], names)
		}
		if footer != nil {
			footer[nameColumn] = cut(footer[nameColumn], names)
		}
	}
	for c := range cols {
		if gone[c] {
			left = append(left, cols[c].title)
		} else {
			shown = append(shown, c)
		}
	}
	return shown, left
}

// shortDTypes names element types as their users do where the table has no room for the full names. Longer names come first.
var shortDTypes = strings.NewReplacer("float8e4m3fnuz", "e4m3fnuz", "float8e5m2fnuz", "e5m2fnuz", "float8e4m3fn", "e4m3", "float8e5m2", "e5m2",
	"bfloat16", "bf16", "float16", "f16", "float32", "f32", "float64", "f64")

// said is one sentence about kept layers, with the layers it is about.
type said struct {
	sentence string
	names    []string // the first few
	layers   int64
	weight   bool // the layers have weights, so their names mean something
}

// reasons writes why layers were kept, in the order of the closed list; layers with the same sentence share a line.
func (o Options) reasons(b *strings.Builder, r *report.Report) {
	if r.Totals.Kept == 0 {
		return
	}
	lines := map[report.ReasonCode][]*said{}
	index := map[report.Reason]*said{}
	for i := range r.Layers {
		l := &r.Layers[i]
		if l.Decision != report.Kept || l.Reason == nil {
			continue
		}
		s := index[*l.Reason]
		if s == nil {
			s = &said{sentence: l.Reason.Sentence}
			index[*l.Reason] = s
			lines[l.Reason.Code] = append(lines[l.Reason.Code], s)
		}
		s.layers++
		s.weight = s.weight || !foldable(l)
		if o.All || len(s.names) < fewLayers {
			s.names = append(s.names, safe(l.Name, maxName))
		}
	}
	fmt.Fprintf(b, "\n%s\n", o.paint(bold, "Kept"))
	for _, c := range r.Totals.Reasons {
		rest := c.Layers
		for i, s := range lines[c.Code] {
			if i == fewLayers && !o.All {
				break
			}
			rest -= s.layers
			o.item(b, string(c.Code), yellow, s.who(o.All)+": "+s.sentence)
		}
		if rest > 0 {
			o.item(b, string(c.Code), yellow, fmt.Sprintf("and %s more %s", count(rest), plural(rest)))
		}
	}
}

// who names the layers a sentence is about, or counts them.
func (s *said) who(all bool) string {
	if !all && !s.weight && s.layers > fewLayers {
		return layers(s.layers)
	}
	names := strings.Join(s.names, ", ")
	if more := s.layers - int64(len(s.names)); more > 0 {
		names += fmt.Sprintf(" and %s more", count(more))
	}
	return names
}

func layers(n int64) string { return count(n) + " " + plural(n) }

func plural(n int64) string {
	if n == 1 {
		return "layer"
	}
	return "layers"
}

// item writes one line of a list: a code and a sentence.
func (o Options) item(b *strings.Builder, code string, p paint, text string) {
	code = word(code)
	if o.marked != nil {
		o.marked.item(b, code, line(text))
		return
	}
	text = wrap("  "+code+": "+line(text), o.Width, "    ")
	if p != "" && o.Color {
		text = strings.Replace(text, code, o.paint(p, code), 1)
	}
	fmt.Fprintln(b, text)
}
