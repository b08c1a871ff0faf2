package render

import (
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// grid is a table whose cells are final: the library would shout headers, wrap long cells and measure by the locale.
type grid struct {
	titles, footer []string // footer may be nil
	right          []bool   // columns whose cells end at the right
	rows           [][]string
}

// write lays the grid out, without spaces at the ends of lines.
func (g *grid) write(b *strings.Builder) error {
	align, padding := make([]tw.Align, len(g.right)), make([]tw.Padding, len(g.right))
	for i, right := range g.right {
		align[i] = tw.AlignLeft
		if padding[i].Overwrite = true; i < len(g.right)-1 {
			padding[i].Right = "  "
		}
		if right {
			align[i] = tw.AlignRight
		}
	}
	section := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoWrap: tw.WrapNone, AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft, PerColumn: align},
		Padding:    tw.CellPadding{PerColumn: padding},
	}
	var out strings.Builder
	table := tablewriter.NewTable(&out,
		tablewriter.WithConfig(tablewriter.Config{Header: section, Row: section, Footer: section}),
		tablewriter.WithEastAsian(tw.Off),
		tablewriter.WithTrimSpace(tw.Off),
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Symbols: tw.NewSymbols(tw.StyleLight),
			Borders: tw.Border{Left: tw.Off, Right: tw.Off, Top: tw.Off, Bottom: tw.Off},
			Settings: tw.Settings{
				Separators: tw.Separators{ShowHeader: tw.On, ShowFooter: tw.On, BetweenRows: tw.Off, BetweenColumns: tw.Off},
				Lines:      tw.Lines{ShowTop: tw.Off, ShowBottom: tw.Off, ShowHeaderLine: tw.On, ShowFooterLine: tw.On},
			},
		})))
	table.Header(g.titles)
	for _, row := range g.rows {
		if err := table.Append(row); err != nil {
			return err
		}
	}
	if g.footer != nil {
		table.Footer(g.footer)
	}
	if err := table.Render(); err != nil {
		return err
	}
	for text := range strings.Lines(out.String()) {
		b.WriteString(strings.TrimRight(text, " \n") + "\n")
	}
	return nil
}
