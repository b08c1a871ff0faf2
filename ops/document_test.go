package ops

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var update = flag.Bool("update", false, "write the bodies into docs/FLOAT8LINEAR.md")

const (
	bodiesBegin = "<!-- bodies: begin"
	bodiesEnd   = "<!-- bodies: end -->"
)

func TestDocumentListsEveryBodyAsItIs(t *testing.T) {
	path := filepath.Join("..", "docs", "FLOAT8LINEAR.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), "\r\n", "\n")
	head, rest, ok := strings.Cut(text, bodiesBegin)
	line, rest, ok2 := strings.Cut(rest, "\n")
	got, tail, ok3 := strings.Cut(rest, bodiesEnd)
	if !ok || !ok2 || !ok3 {
		t.Fatalf("%s: no %q and %q", path, bodiesBegin, bodiesEnd)
	}
	want := listAll()
	if *update {
		if err := os.WriteFile(path, []byte(head+bodiesBegin+line+"\n"+want+bodiesEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s does not list the bodies as they are; go test ./ops -run Document -update writes them", path)
	}
}

func TestDocumentNamesEveryInputOutputAndAttribute(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "docs", "FLOAT8LINEAR.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := append(append([]string{Domain}, inputNames[:]...), outputNames[:]...)
	for _, a := range defaults() {
		names = append(names, a.Name)
	}
	for _, name := range names {
		if !strings.Contains(string(b), "`"+name+"`") {
			t.Errorf("docs/FLOAT8LINEAR.md does not speak of `%s`", name)
		}
	}
}

func listAll() string {
	var s strings.Builder
	for _, v := range Variants() {
		f := Body(v, MinOpset)
		fmt.Fprintf(&s, "\n### %s\n\n```\n", f.Name)
		for _, n := range f.Nodes {
			fmt.Fprintln(&s, listNode(n))
		}
		s.WriteString("```\n")
	}
	return s.String()
}

func listNode(n *graph.Node) string {
	line := fmt.Sprintf("%s = %s(%s)", n.Outputs[0], n.OpType, strings.Join(n.Inputs, ", "))
	for _, a := range n.Attributes {
		value := ""
		switch {
		case a.Ref != "":
			value = "@" + a.Ref
		case a.Kind == graph.AttrInt:
			value = fmt.Sprint(a.Int)
			if a.Name == "to" {
				value = tensor.DType(a.Int).String()
			}
		case a.Kind == graph.AttrInts:
			value = fmt.Sprint(a.Ints)
		case a.Kind == graph.AttrFloat:
			value = fmt.Sprint(a.Float)
		case a.Kind == graph.AttrTensor:
			fs, err := a.Tensor.AsFloat32s()
			if err != nil {
				return err.Error()
			}
			value = fmt.Sprintf("%s%s %g, %g, ... %g", a.Tensor.DType, a.Tensor.Shape, fs[0], fs[1], fs[len(fs)-1])
		}
		line += fmt.Sprintf(" {%s=%s}", a.Name, value)
	}
	return line
}
