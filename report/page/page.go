package page

import (
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

//go:embed style.css
var style string

// fewRows is the number of rows up to which a table is open.
const fewRows = 12

// Write writes r as one HTML file that needs no other.
func Write(w io.Writer, r *report.Report) error {
	p := &page{}
	if err := p.report(r); err != nil {
		return fmt.Errorf("report/page: %w", err)
	}
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("report/page: write: %w", err)
	}
	return nil
}

// page is the file while it is written.
type page struct {
	b      strings.Builder
	plots  int
	tables int
}

// escape makes text fit for HTML, between tags and in quoted attributes. Text that came from a report has had what is not visible
// spelled out by package render.
func escape(s string) string { return escapes.Replace(s) }

var escapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

func (p *page) f(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

// job is a section of the page.
type job struct {
	title, id string
	figures   []figure
	blocks    []render.Block
}

func (p *page) report(r *report.Report) error {
	rows, err := render.Sections(r, render.Options{All: true})
	if err != nil {
		return err
	}
	brief, err := render.Sections(r, render.Options{})
	if err != nil {
		return err
	}
	head, notes := brief[0], brief[len(brief)-1]
	var jobs []job
	for _, s := range rows[1 : len(rows)-1] {
		j := job{title: s.Title, id: strings.ToLower(s.Title), blocks: s.Blocks}
		switch j.id {
		case "conversion":
			j.figures = conversion(r)
		case "calibration":
			j.figures = calibration(r.Calibration)
		case "verification":
			j.figures = verification(r.Verification)
		case "benchmark":
			j.figures = bench(r.Bench)
		}
		jobs = append(jobs, j)
	}
	title := head.Blocks[0].Heading
	p.f("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
	p.f("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n")
	p.f("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n")
	p.f("<title>%s · fp8rewrite</title>\n<style>\n%s</style>\n</head>\n<body>\n", escape(title), style)
	p.f("<header>\n<p class=\"kind\">fp8rewrite %s report</p>\n<h1>%s</h1>\n", escape(render.Line(string(r.Kind))), breakable(title))
	for _, k := range head.Blocks[1:] {
		p.f("<p>%s</p>\n", escape(k.Text))
	}
	p.f("</header>\n<main>\n")
	p.summary(r)
	p.f("<nav aria-label=\"Sections\"><ul>")
	p.f("<li><a href=\"#notes\">Decisions and warnings</a></li>")
	for _, j := range jobs {
		p.f("<li><a href=\"#%s\">%s</a></li>", j.id, escape(j.title))
	}
	p.f("<li><a href=\"#made\">How it was made</a></li></ul></nav>\n")
	p.f("<section id=\"notes\">\n<h2>Decisions and warnings</h2>\n")
	p.decisions(r)
	p.blocks(notes.Blocks)
	p.f("</section>\n")
	for _, j := range jobs {
		p.f("<section id=\"%s\">\n<h2>%s</h2>\n", j.id, escape(j.title))
		if err := p.job(&j); err != nil {
			return err
		}
		p.f("</section>\n")
	}
	p.made(r)
	p.f("</main>\n</body>\n</html>\n")
	return nil
}

// breakable is a title whose file names may be broken where they have dots.
func breakable(s string) string { return strings.ReplaceAll(escape(s), ".", ".<wbr>") }

// job writes the lines of a section, its plots, then its tables.
func (p *page) job(j *job) error {
	tables := 0
	for tables < len(j.blocks) && j.blocks[tables].Table == nil {
		tables++
	}
	p.blocks(j.blocks[:tables])
	if len(j.figures) > 0 {
		p.f("<div class=\"figures\">\n")
		for i := range j.figures {
			if err := p.figure(&j.figures[i]); err != nil {
				return err
			}
		}
		p.f("</div>\n")
	}
	p.blocks(j.blocks[tables:])
	return nil
}

// figure writes a plot, what there is to see and its table.
func (p *page) figure(f *figure) error {
	p.plots++
	id := fmt.Sprint("plot-", p.plots)
	p.f("<figure>\n<h3>%s</h3>\n", escape(f.title))
	if f.chart.empty() {
		p.f("<p class=\"none\">No value here has a place on a plot.</p>\n")
	} else {
		drawn, err := svg(&f.chart, id, f.title, f.note)
		if err != nil {
			return err
		}
		if len(f.chart.series) > 1 || f.chart.band[0] != nil {
			p.legend(&f.chart)
		}
		p.f("%s", drawn)
	}
	p.f("<figcaption>\n")
	if f.note != "" {
		p.f("<p>%s</p>\n", escape(f.note))
	}
	p.table(&f.table, "Table: "+f.title, false)
	p.f("</figcaption>\n</figure>\n")
	return nil
}

// legend says which mark or line is which series.
func (p *page) legend(c *chart) {
	p.f("<p class=\"legend\">")
	for i, s := range c.series {
		class, extra := "mark", ""
		switch {
		case s.line:
			class, extra = "line", fmt.Sprint(" d", i%len(dashes))
		case c.named() && c.zero:
			class = "bar"
		case i%2 == 1:
			class = "flat"
		}
		p.f("<span><i class=\"%s%s\" style=\"--c:var(--s%d)\"></i>%s</span> ", class, extra, i%maxSeries+1, escape(s.name))
	}
	if c.band[0] != nil {
		p.f("<span><i class=\"mark\" style=\"--c:var(--band)\"></i>nine of ten layers</span>")
	}
	p.f("</p>\n")
}

// blocks writes headings, lines, lists and tables.
func (p *page) blocks(blocks []render.Block) {
	list := false
	for _, k := range blocks {
		if list && k.Code == "" {
			p.f("</ul>\n")
			list = false
		}
		switch {
		case k.Heading != "":
			p.f("<h3>%s</h3>\n", escape(k.Heading))
		case k.Table != nil:
			p.table(k.Table, "", len(k.Table.Rows) <= fewRows)
		case k.Code != "":
			if !list {
				p.f("<ul class=\"codes\">\n")
				list = true
			}
			p.f("<li><code>%s</code> %s</li>\n", escape(k.Code), escape(k.Text))
		default:
			p.f("<p>%s</p>\n", escape(k.Text))
		}
	}
	if list {
		p.f("</ul>\n")
	}
}

// table writes a table that the reader opens, or that is open. Tags that HTML lets one leave out are left out: a table may have thousands
// of rows.
func (p *page) table(t *render.Sheet, title string, open bool) {
	p.tables++
	if title == "" {
		title = "Table: "
		if t.Titles[0] != "" {
			title += t.Titles[0] + ", "
		}
		title += strings.Join(t.Titles[1:], ", ")
	}
	attribute := ""
	if open {
		attribute = " open"
	}
	p.f("<details%s><summary>%s (%d)</summary>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n<table>\n<thead><tr>",
		attribute, escape(title), len(t.Rows), escape(title))
	for i, c := range t.Titles {
		p.f("<th scope=col%s>%s", right(t.Right[i]), escape(c))
	}
	p.f("\n<tbody>\n")
	b := &p.b
	name := 0
	if len(t.Titles) > 1 && t.Titles[0] == "#" {
		name = 1
	}
	line := func(cells []string) {
		b.WriteString("<tr>")
		for i, c := range cells {
			switch {
			case i == name && !t.Right[i]:
				b.WriteString("<th scope=row>")
			case t.Right[i]:
				b.WriteString("<td>")
			default:
				b.WriteString("<td class=l>")
			}
			b.WriteString(escape(c))
		}
		b.WriteByte('\n')
	}
	for _, r := range t.Rows {
		line(r)
	}
	if t.Footer != nil {
		b.WriteString("<tfoot>\n")
		line(t.Footer)
	}
	p.f("</table>\n</div>\n</details>\n")
}

func right(yes bool) string {
	if yes {
		return " class=r"
	}
	return ""
}
