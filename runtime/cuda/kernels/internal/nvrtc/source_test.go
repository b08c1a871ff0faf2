package nvrtc

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestExpandPastesInWhatIsIncluded(t *testing.T) {
	dir := fstest.MapFS{
		"a.cuh": {Data: []byte("int a;\n")}, "b.cuh": {Data: []byte("int b;\n")},
		"k.cu":    {Data: []byte("// first\n#include \"a.cuh\"\n#include \"b.cuh\"\nint k;\n")},
		"none.cu": {Data: []byte("int k;\n")},
		"lost.cu": {Data: []byte("#include \"c.cuh\"\n")},
	}
	got, err := Expand(dir, "k.cu")
	if err != nil {
		t.Fatal(err)
	}
	want := "// first\n#line 1 \"a.cuh\"\nint a;\n\n#line 3 \"k.cu\"\n#line 1 \"b.cuh\"\nint b;\n\n#line 4 \"k.cu\"\nint k;\n"
	if got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	for name, want := range map[string]string{"none.cu": "includes nothing", "lost.cu": "c.cuh", "absent.cu": "absent.cu"} {
		if _, err := Expand(dir, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
}

func TestOptionsAndHeaderFollowTheName(t *testing.T) {
	if o := Options("attention.cu"); !slices.Contains(o, "--gpu-architecture=compute_89") {
		t.Errorf("options %v, want compute_89", o)
	}
	if o := Options("attention_sm90a.cu"); !slices.Contains(o, "--gpu-architecture=compute_90a") {
		t.Errorf("options %v, want compute_90a", o)
	}
	h := Header("a.cu", "x", "z")
	for _, other := range []string{Header("a"+Hopper+".cu", "x", "z"), Header("a.cu", "y", "z"), Header("a.cu", "x", "zz")} {
		if other == h {
			t.Error("headers of other options, another text or another body are the same")
		}
	}
	if strings.Count(h, "\n") != 1 || !strings.HasPrefix(h, "// ") || !strings.HasSuffix(h, "\n") {
		t.Errorf("header %q is no comment of one line", h)
	}
}
