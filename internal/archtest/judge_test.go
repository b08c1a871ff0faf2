package archtest

import (
	"strings"
	"testing"
	"testing/fstest"
)

const sample = "# Rooms\n\n| stage | file |\n|---|---|\n| one | two |\n\n" +
	"| package | holds | may import from this module |\n|---|---|---|\n" +
	"| `float8` | formats | nothing |\n" +
	"| `tensor` | dense | `float8` |\n" +
	"| `onnxio` | files | `tensor`, `internal/onnxpb` (its only user) |\n" +
	"| `internal/onnxpb` | bindings | nothing |\n" +
	"| `report` | structs | nothing |\n" +
	"| `report/render` | tables | `report` |\n" +
	"| `autodiff` (later) | gradients | `tensor` |\n" +
	"| `cmd/fp8rewrite` | commands | all of the above |\n\n| `not` | a | row |\n"

func TestTheTableIsReadFromItsHeaderToTheFirstLineOutsideIt(t *testing.T) {
	tab, err := readTable(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	if len(tab) != 8 || !tab["cmd/fp8rewrite"].all || !tab["autodiff"].later || len(tab["float8"].may) != 0 {
		t.Fatalf("got %+v", tab)
	}
	for text, want := range map[string]string{
		"no table": "no table",
		"| package | may import |\n|---|---|\n| `a` | some |\n":                          "want backticked names",
		"| package | may import |\n|---|---|\n| a | nothing |\n":                         "no package name",
		"| package | may import |\n|---|---|\n| `a` | nothing |\n| `a` | nothing |\n":    "two rows",
		"| package | may import |\n|---|---|\n| `a` | `b` |\n":                           "has no row",
		"| package | holds | may import |\n|---|---|---|\n| `a` | lacks the last cell\n": "2 cells",
	} {
		if _, err := readTable(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

func TestAnImportAgainstTheTableIsNamed(t *testing.T) {
	tab, err := readTable(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	own := module + "/"
	for _, c := range []struct{ what, file, text, want string }{
		{"a room below", "tensor/a.go", `import "` + own + `float8"`, ""},
		{"the standard library", "float8/a.go", `import "encoding/json"`, ""},
		{"a room above", "float8/a.go", `import "` + own + `tensor"`, `room "float8" may import [] only`},
		{"a package beneath another room", "float8/deep/a.go", `import "` + own + `tensor/x"`, `imports "tensor/x"`},
		{"the same room", "tensor/deep/a.go", `import "` + own + `tensor"`, ""},
		{"a parent with a row of its own", "report/a.go", `import "` + own + `report/render"`, `imports "report/render"`},
		{"a package without a row", "stray/a.go", ``, `has no row`},
		{"an import without a row", "tensor/a.go", `import "` + own + `stray"`, `which has no row`},
		{"the command, which may import all", "cmd/fp8rewrite/a.go", `import "` + own + `onnxio"`, ""},
		{"a test of a low room", "float8/a_test.go", `import "` + own + `onnxio"`, ""},
		{"protobuf in its room", "onnxio/a.go", `import "google.golang.org/protobuf/proto"`, ""},
		{"protobuf elsewhere", "tensor/a.go", `import "google.golang.org/protobuf/proto"`, `only onnxio, internal/onnxpb may`},
		{"protobuf in a test elsewhere", "tensor/a_test.go", `import "google.golang.org/protobuf/proto"`, `only onnxio, internal/onnxpb may`},
		{"cobra elsewhere", "report/render/a.go", `import "github.com/spf13/cobra"`, `only cmd/fp8rewrite may`},
		{"an unknown module", "cmd/fp8rewrite/a.go", `import "example.com/x"`, `no room may import`},
		{"a generator run by hand", "float8/gen.go", "//go:build ignore", ""},
		{"a file for one system", "float8/a_windows.go", "//go:build windows && !ignore\n", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			text := "package x\n" + c.text + "\n"
			if strings.HasPrefix(c.text, "//go:build") {
				text = c.text + "\n\npackage x\nimport \"" + own + "float8\"\n"
			}
			got := strings.Join(judge(tab, readTree(t, fstest.MapFS{c.file: {Data: []byte(text)}})), "\n")
			if c.want == "" && got != "" || c.want != "" && !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
