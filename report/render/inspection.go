package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// Inspection writes what a model holds, for people.
func Inspection(w io.Writer, in *report.Inspection, o Options) error {
	var b strings.Builder
	m := &in.Model
	fmt.Fprintln(&b, o.paint(bold, safe(m.Name, maxName)))
	fmt.Fprintln(&b, wrap(fmt.Sprintf("%s, opset %s, IR %s, %s, nodes %s, functions %s", line(m.Format), count(m.Opset), count(m.IRVersion),
		size(m.Bytes), count(m.Nodes), count(m.Functions)), o.Width, "  "))
	if m.Producer != "" {
		fmt.Fprintln(&b, wrap("made by "+line(m.Producer), o.Width, "  "))
	}
	for _, f := range m.ExternalFiles {
		fmt.Fprintln(&b, wrap(fmt.Sprintf("data file %s, %s", safe(f.Name, maxName), size(f.Bytes)), o.Width, "  "))
	}
	switch {
	case in.Recipe != "":
		fmt.Fprintf(&b, "recipe %s, %s\n", line(in.Recipe), calibration(in.State))
	default:
		fmt.Fprintln(&b, "no float8 layers")
	}
	if len(in.Layers) == 0 {
		fmt.Fprintf(&b, "\nThe model has no MatMul, Gemm or Float8Linear.\n")
	} else if err := layersFound(in, &b); err != nil {
		return fmt.Errorf("report: table: %w", err)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func layersFound(in *report.Inspection, b *strings.Builder) error {
	g := grid{titles: []string{"layer", "op", "shape", "dtype", "bytes", "scale in", "scale w", "amax in", "history", "convert"},
		right: []bool{false, false, false, false, true, true, true, true, true, false}}
	hidden := 0
	for i := range in.Layers {
		l := &in.Layers[i]
		if l.Reason != nil && l.Reason.Code == report.ReasonNoConstantOperand {
			hidden++
			continue
		}
		name := safe(l.Name, maxName)
		if l.Graph != "" {
			name = cut(name+" in "+safe(l.Graph, maxName), maxName)
		}
		row := []string{name, line(l.Op), shape(l.Shape), line(l.DType), size(l.Bytes), none, none, none, none, "rewrites"}
		if l.Reason != nil {
			row[9] = "keeps: " + line(string(l.Reason.Code))
		}
		if f := l.Float8; f != nil {
			row[5], row[6], row[8], row[9] = number(f.ScaleInput), scale(f.ScaleWeight), count(f.HistoryLen), none
			if f.Initialized && len(f.AmaxInput) > 0 {
				row[7] = number(f.AmaxInput[0])
			}
		}
		g.rows = append(g.rows, row)
	}
	if len(g.rows) > 0 {
		b.WriteByte('\n')
		if err := g.write(b); err != nil {
			return err
		}
	}
	if hidden > 0 {
		fmt.Fprintf(b, "and %s without a constant operand\n", count(int64(hidden)))
	}
	return nil
}
