package archtest

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fp8rewrite/fp8rewrite"

// outside names the only rooms that may import a module from outside the standard library. A module that is not here needs a reason in
// docs/RATIONALE.md first.
var outside = []struct {
	module string
	rooms  []string
}{
	{"google.golang.org/protobuf", []string{"onnxio", "internal/onnxpb"}},
	{"github.com/cespare/xxhash/v2", []string{"onnxio", "rewrite", "samples", "checkpoint", "cmd/fp8rewrite"}},
	{"github.com/ebitengine/purego", []string{"internal/dynlib"}},
	{"github.com/spf13/cobra", []string{"cmd/fp8rewrite"}},
	{"github.com/spf13/pflag", []string{"cmd/fp8rewrite"}},
	{"github.com/schollz/progressbar/v3", []string{"cmd/fp8rewrite"}},
	{"golang.org/x/term", []string{"cmd/fp8rewrite"}},
	{"github.com/rogpeppe/go-internal", []string{"cmd/fp8rewrite"}},
	{"github.com/olekukonko/tablewriter", []string{"report/render"}},
	{"github.com/mmcloughlin/avo", []string{"float8", "runtime/cpu/gemm", "runtime/cpu/vec"}},
	{"gonum.org/v1/plot", []string{"report/page"}},
	{"go.yaml.in/yaml/v3", []string{"policy"}},
	{"gorgonia.org/cu", []string{"runtime/cuda/driver/cu"}},
	{"golang.org/x/sys", []string{"float8", "runtime/cpu/gemm", "runtime/cpu/vec", "internal/dynlib"}},
}

// source is one Go file's imports.
type source struct {
	file    string // relative to the module's root, with forward slashes
	dir     string
	test    bool
	program bool // //go:build ignore: a generator that is run by hand, part of no package
	imports []string
}

func TestImportsFollowTheTableInArchitecture(t *testing.T) {
	root := moduleRoot(t)
	f, err := os.Open(filepath.Join(root, "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tab, err := readTable(f)
	if err != nil {
		t.Fatalf("docs/ARCHITECTURE.md: %v", err)
	}
	sources := readTree(t, os.DirFS(root))
	for _, problem := range judge(tab, sources) {
		t.Error(problem)
	}
	for name, row := range tab {
		held := slices.ContainsFunc(sources, func(s source) bool { return s.dir == name || strings.HasPrefix(s.dir, name+"/") })
		if !held && !row.later {
			t.Errorf("docs/ARCHITECTURE.md: package %q has a row but no Go file (say \"later\" in its cell if it is to come)", name)
		}
	}
}

// judge lists what the sources import against the table. Tests may import any room, since a test of one room reads models through
// another; modules from outside are held to their rooms everywhere.
func judge(tab table, sources []source) []string {
	var problems []string
	for _, s := range sources {
		if s.program {
			continue
		}
		if _, ok := tab.roomOf(s.dir); !ok {
			problems = append(problems, s.file+": package \""+s.dir+"\" has no row in the table")
			continue
		}
		for _, imp := range s.imports {
			inner, ours := strings.CutPrefix(imp, module+"/")
			switch {
			case ours && !s.test:
				if err := tab.allows(s.dir, inner); err != nil {
					problems = append(problems, s.file+": "+err.Error())
				}
			case !ours && isOutside(imp):
				if why := outsideProblem(tab, s.dir, imp); why != "" {
					problems = append(problems, s.file+": "+why)
				}
			}
		}
	}
	return problems
}

// isOutside reports whether an import path lies outside the standard library: its first element has a dot.
func isOutside(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return strings.Contains(first, ".")
}

func outsideProblem(tab table, dir, imp string) string {
	for _, o := range outside {
		if imp != o.module && !strings.HasPrefix(imp, o.module+"/") {
			continue
		}
		row, _ := tab.roomOf(dir)
		if slices.Contains(o.rooms, row.name) || slices.ContainsFunc(o.rooms, func(r string) bool { return dir == r || strings.HasPrefix(dir, r+"/") }) {
			return ""
		}
		return "imports \"" + imp + "\": only " + strings.Join(o.rooms, ", ") + " may"
	}
	return "imports \"" + imp + "\", a module that no room may import"
}

// readTree parses the imports of every Go file under root, for every system and build tag, skipping what the go tool skips.
func readTree(t *testing.T, root fs.FS) []source {
	t.Helper()
	var out []source
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" || base == "vendor") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		s := source{file: name, dir: path.Dir(name), test: strings.HasSuffix(base, "_test.go"), program: ignored(file)}
		for _, spec := range file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imp)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// ignored reports whether a file's build constraint needs the tag "ignore".
func ignored(file *ast.File) bool {
	for _, group := range file.Comments {
		if group.Pos() > file.Package {
			break
		}
		for _, c := range group.List {
			if !constraint.IsGoBuild(c.Text) {
				continue
			}
			expr, err := constraint.Parse(c.Text)
			if err == nil && !expr.Eval(func(tag string) bool { return tag != "ignore" }) {
				return true
			}
		}
	}
	return false
}

// moduleRoot is the folder of go.mod above the test's working directory.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
}
