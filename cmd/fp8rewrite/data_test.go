package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fp8rewrite/fp8rewrite/samples/npy"
)

// writeNpz writes a file of NumPy's: npz FILE NAME=DESCR(SHAPE)[!INDEX]... Numbers are a ramp from -1 to 1, integers count up to 6 over
// and over; the element at INDEX is NaN. A name with .npy as FILE takes one array, whose name does not matter.
func writeNpz(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: npz FILE NAME=DESCR(SHAPE)[!INDEX]...")
	}
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	for _, spec := range args[1:] {
		m := arraySpec.FindStringSubmatch(spec)
		if m == nil {
			ts.Fatalf("npz: got %q, want NAME=DESCR(SHAPE)[!INDEX]", spec)
		}
		nan := -1
		if m[4] != "" {
			nan, _ = strconv.Atoi(m[4])
		}
		array := npyArray(m[2], m[3], nan)
		if strings.HasSuffix(args[0], ".npy") {
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), array, 0o666))
			return
		}
		w, err := z.Create(m[1] + ".npy")
		ts.Check(err)
		_, err = w.Write(array)
		ts.Check(err)
	}
	ts.Check(z.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), file.Bytes(), 0o666))
}

// npzOf is an .npz file of arrays that are .npy files.
func npzOf(t testing.TB, arrays map[string][]byte) []byte {
	t.Helper()
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		w, err := z.Create(name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(arrays[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// shortTexts is the data of the llama model with the first tokens of each row alone, which take less time.
func shortTexts(t testing.TB, tokens int64) map[string][]byte {
	t.Helper()
	f, err := npy.OpenZip("../../testdata/models/llama/data.npz", npy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	arrays := map[string][]byte{}
	for _, a := range f.Arrays {
		b, err := a.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		rows, row := a.Header.Shape[0], 8*a.Header.Shape[1]
		array := npyHeader("<i8", fmt.Sprintf("%d, %d", rows, tokens))
		for i := range rows {
			array = append(array, b[i*row:i*row+8*tokens]...)
		}
		arrays[a.Name] = array
	}
	return arrays
}

var arraySpec = regexp.MustCompile(`^(\w+)=([<>|=]\w+)\(([0-9,]*)\)(?:!(\d+))?$`)

// npyHeader is the head of a .npy file, version 1.
func npyHeader(descr, shape string) []byte {
	text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape)
	text += strings.Repeat(" ", 63-(10+len(text))%64) + "\n"
	return append(binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(text))), text...)
}

func npyArray(descr, shape string, nan int) []byte {
	n := 1
	for axis := range strings.SplitSeq(strings.Trim(shape, ","), ",") {
		if axis != "" {
			v, _ := strconv.Atoi(axis)
			n *= v
		}
	}
	b := npyHeader(descr, shape)
	for i := range n {
		v := 2*float64(i)/float64(n) - 1
		if i == nan {
			v = math.NaN()
		}
		switch descr {
		case "<f4":
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v)))
		case "<f8":
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		case "<i8":
			b = binary.LittleEndian.AppendUint64(b, uint64(i%7))
		case "<U3":
			b = append(b, "a\x00\x00\x00b\x00\x00\x00c\x00\x00\x00"...)
		case "|O":
			b = append(b, "\x80\x04N."...)
		}
	}
	return b
}

// writeBomb writes an .npz file of a few MB that unpacks to rows of 64 zeros, more than 4 GiB of them: bomb FILE NAME.
func writeBomb(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: bomb FILE NAME")
	}
	const block, blocks = 64 << 20, 80
	head := npyHeader("<f4", fmt.Sprintf("%d, 64", int64(block)*blocks/256))
	// A block that was flushed ends at a byte and holds nothing but references to zeros, so that it may stand there any number of times.
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	ts.Check(err)
	part := func(b []byte) []byte {
		from := packed.Len()
		w.Write(b)
		ts.Check(w.Flush())
		return bytes.Clone(packed.Bytes()[from:])
	}
	zeros := make([]byte, block)
	stream := append(part(head), part(zeros)...)
	stream = append(stream, bytes.Repeat(part(zeros), blocks-1)...)
	from := packed.Len()
	ts.Check(w.Close())
	stream = append(stream, packed.Bytes()[from:]...)

	var file bytes.Buffer
	z := zip.NewWriter(&file)
	f, err := z.CreateRaw(&zip.FileHeader{Name: args[1] + ".npy", Method: zip.Deflate, CompressedSize64: uint64(len(stream)),
		UncompressedSize64: uint64(len(head)) + block*blocks})
	ts.Check(err)
	_, err = f.Write(stream)
	ts.Check(err)
	ts.Check(z.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), file.Bytes(), 0o666))
}

// checkField looks into a JSON file: field FILE PATH WANT. PATH goes down by the names of members and the places in lists, with dots
// between them; len is the length of a list. WANT is the value as JSON has it, a string also without its quotes; with < or > before it, a
// bound that the number is below or above. Under ! the value must be another one.
func checkField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: field FILE PATH WANT")
	}
	v := lookUp(ts, args[0], args[1])
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	ts.Check(e.Encode(v))
	text := strings.TrimSpace(got.String())
	ok := text == args[2] || text == strconv.Quote(args[2])
	if bound, below := strings.CutPrefix(args[2], "<"); below || strings.HasPrefix(args[2], ">") {
		limit, err := strconv.ParseFloat(strings.TrimPrefix(bound, ">"), 64)
		ts.Check(err)
		n, err := strconv.ParseFloat(text, 64)
		ok = err == nil && (below && n < limit || !below && n > limit)
	}
	if ok == neg {
		ts.Fatalf("%s: %s is %s, want %s", args[0], args[1], text, args[2])
	}
}

// lookUp goes down the path in a JSON file.
func lookUp(ts *testscript.TestScript, file, path string) any {
	var v any
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(file)))
	d.UseNumber()
	ts.Check(d.Decode(&v))
	for step := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			m, ok := x[step]
			if !ok {
				ts.Fatalf("%s: no member %q of %s", file, step, path)
			}
			v = m
		case []any:
			if step == "len" {
				v = json.Number(fmt.Sprint(len(x)))
				continue
			}
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(x) {
				ts.Fatalf("%s: no element %q of %s, there are %d", file, step, path, len(x))
			}
			v = x[i]
		default:
			ts.Fatalf("%s: nothing below %v at %q of %s", file, v, step, path)
		}
	}
	return v
}

// sameField checks that two JSON files have the same at two places: samefield FILE PATH FILE PATH.
func sameField(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 || neg {
		ts.Fatalf("usage: samefield FILE PATH FILE PATH")
	}
	a, b := lookUp(ts, args[0], args[1]), lookUp(ts, args[2], args[3])
	if !reflect.DeepEqual(a, b) {
		ts.Fatalf("%s: %s is %v, %s: %s is %v", args[0], args[1], a, args[2], args[3], b)
	}
}

// near checks that two JSON files differ in numbers alone, and in those by at most a part of them: near FILE FILE PART. Numbers of bytes
// and names of files do not count.
func near(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: near FILE FILE PART")
	}
	part, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	var a, b any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &a))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &b))
	compared := 0
	var walk func(path string, a, b any)
	walk = func(path string, a, b any) {
		switch x := a.(type) {
		case map[string]any:
			y, ok := b.(map[string]any)
			if !ok || len(x) != len(y) {
				ts.Fatalf("%s: %v and %v", path, a, b)
			}
			for k := range x {
				if k != "bytes" && k != "sha256" && k != "model" {
					walk(path+"."+k, x[k], y[k])
				}
			}
		case []any:
			y, ok := b.([]any)
			if !ok || len(x) != len(y) {
				ts.Fatalf("%s: %v and %v", path, a, b)
			}
			for i := range x {
				walk(fmt.Sprint(path, ".", i), x[i], y[i])
			}
		case float64:
			y, ok := b.(float64)
			if compared++; !ok || math.Abs(x-y) > part*math.Abs(y) {
				ts.Fatalf("%s: %v and %v", path, a, b)
			}
		default:
			if a != b {
				ts.Fatalf("%s: %v and %v", path, a, b)
			}
		}
	}
	walk("", a, b)
	if compared == 0 {
		ts.Fatalf("no number to compare")
	}
}
