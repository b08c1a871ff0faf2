package npy

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

type member struct {
	name   string
	method uint16
	data   []byte
}

func zipped(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		w, err := z.CreateHeader(&zip.FileHeader{Name: m.name, Method: m.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAFileMustHoldExactlyItsArray(t *testing.T) {
	for _, c := range []struct {
		name, data, word string
	}{
		{"whole", "12345678", ""},
		{"cut short", "1234567", "has 7 bytes of data, want 8"},
		{"followed by another", "12345678" + string(npyFile(1, dict("<f4", "()"), "1234")), "something follows"},
	} {
		f, err := Open(write(t, "a.npy", npyFile(1, dict("<f4", "(2,)"), c.data)))
		if c.word == "" {
			if err != nil {
				t.Fatal(err)
			}
			if b, err := f.Arrays[0].Bytes(); err != nil || string(b) != c.data || !f.Arrays[0].Mapped() || f.Arrays[0].Verify() != nil {
				t.Errorf("%s: %q, %v", c.name, b, err)
			}
			f.Close()
		} else if err == nil || !strings.Contains(err.Error(), c.word) || !strings.Contains(err.Error(), "a.npy") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.word)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.npy")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestFilesOfNumPy reads what NumPy 2.4.6 wrote (testdata/make.py): it marks every member as ZIP64.
func TestFilesOfNumPy(t *testing.T) {
	for _, name := range []string{"stored.npz", "deflated.npz"} {
		f, err := OpenZip(filepath.Join("testdata", name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		le4, be4 := binary.LittleEndian.AppendUint32, binary.BigEndian.AppendUint32
		var f4, i4 []byte
		for i := range 6 {
			f4 = le4(f4, []uint32{0, 0x3F800000, 0x40000000, 0x40400000, 0x40800000, 0x40A00000}[i])
			i4 = be4(i4, []uint32{0, 2, 4, 1, 3, 5}[i]) // the first axis varies fastest
		}
		want := map[string]struct {
			d            tensor.DType
			shape        string
			fortran, big bool
			data         []byte // where it is compared
		}{
			"f4": {tensor.Float32, "[2,3]", false, false, f4}, "f8be": {tensor.Float64, "[2,3]", false, true, nil},
			"i2fortran": {tensor.Int16, "[2,3,4]", true, false, nil}, "i4befortran": {tensor.Int32, "[3,2]", true, true, i4},
			"bool": {tensor.Bool, "[3]", false, false, []byte{1, 0, 1}}, "scalar": {tensor.Int64, "[]", false, false, []byte{7, 0, 0, 0, 0, 0, 0, 0}},
			"none": {tensor.Uint8, "[0,5]", false, false, []byte{}}, "f2": {tensor.Float16, "[2]", false, false, []byte{0, 0x38, 0, 0xC0}},
		}
		if len(f.Arrays) != len(want) {
			t.Errorf("%s: %d arrays, want %d", name, len(f.Arrays), len(want))
		}
		for _, a := range f.Arrays {
			w, h := want[a.Name], a.Header
			if h.DType != w.d || h.Shape.String() != w.shape || h.Fortran != w.fortran || h.BigEndian != w.big {
				t.Errorf("%s: %s: %+v", name, a.Name, h)
			}
			b, err := a.Bytes()
			if err != nil || int64(len(b)) != h.Size() || w.data != nil && !bytes.Equal(b, w.data) {
				t.Errorf("%s: %s: %v, %v, want %v", name, a.Name, b, err, w.data)
			}
			if err := a.Verify(); err != nil {
				t.Errorf("%s: %s: %v", name, a.Name, err)
			}
			if a.Mapped() != (name == "stored.npz" || a.Name == "none") {
				t.Errorf("%s: %s: mapped %v", name, a.Name, a.Mapped())
			}
		}
	}
	for name, cause := range map[string]error{"objects.npz": ErrPickle, "structured.npz": ErrUnsupported, "text.npz": ErrUnsupported} {
		f, err := OpenZip(filepath.Join("testdata", name), Options{})
		if err != nil {
			t.Errorf("%s: %v, want the array to be listed", name, err)
			continue
		}
		a := f.Arrays[0]
		if _, err := a.Bytes(); a.Name != "x" || !errors.Is(a.Unreadable, cause) || !errors.Is(err, cause) || a.Verify() != nil {
			t.Errorf("%s: array %q: %v, want %v", name, a.Name, err, cause)
		}
		f.Close()
	}
}

func TestEachWrongZipHasItsError(t *testing.T) {
	small := npyFile(1, dict("<f4", "(2,)"), "12345678")
	zeros := npyFile(1, dict("|u1", "(1000000,)"), strings.Repeat("\x00", 1000000))
	stored := zipped(t, member{"x.npy", zip.Store, small})
	deflated := zipped(t, member{"x.npy", zip.Deflate, zeros})
	// change replaces the only place of old.
	change := func(b []byte, old, new string) []byte {
		t.Helper()
		if n := bytes.Count(b, []byte(old)); n != 1 {
			t.Fatalf("%q stands %d times", old, n)
		}
		return bytes.Replace(b, []byte(old), []byte(new), 1)
	}
	// directory is where the record of the only member begins in the central directory.
	directory := func(b []byte) int { return bytes.Index(b, []byte("PK\x01\x02")) }
	patch := func(b []byte, at int, v uint32) []byte {
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint32(b[directory(b)+at:], v)
		return b
	}
	for _, c := range []struct {
		name string
		file []byte
		word string
	}{
		{"no bytes", nil, "the file is empty"},
		{"another file", []byte("hello"), "no .npz file"},
		{"cut short", stored[:len(stored)-30], "cut short"},
		{"cut short in the data", deflated[:200], "cut short"},
		{"two of one name", zipped(t, member{"x.npy", zip.Store, small}, member{"x.npy", zip.Store, small}), `two arrays are called "x"`},
		{"an empty member", zipped(t, member{"x.npy", zip.Store, nil}), "the file is empty"},
		{"an empty compressed member", zipped(t, member{"x.npy", zip.Deflate, nil}), "the file is empty"},
		{"a member that is no array", zipped(t, member{"x.npy", zip.Deflate, []byte("\x80\x04pickle")}), "no .npy file"},
		{"fewer bytes than declared", zipped(t, member{"x.npy", zip.Store, small[:len(small)-1]}), "has 7 bytes of data, want 8"},
		{"fewer compressed bytes than declared", zipped(t, member{"x.npy", zip.Deflate, zeros[:len(zeros)-1]}), "999999 bytes of data, want 1000000"},
		{"encrypted", func() []byte {
			b := bytes.Clone(stored)
			b[directory(b)+8] |= 1
			return b
		}(), "encrypted"},
		{"another compression", func() []byte {
			b := bytes.Clone(stored)
			b[directory(b)+10] = 12
			return b
		}(), "compression method 12"},
		{"more than compression can reach", patch(deflated, 24, 0xFFFFFFF0), "more than compression can reach"},
		{"a stored size of two minds", patch(stored, 20, 3), "stored as it is with 3 bytes"},
		{"a member beyond the file", func() []byte {
			b := patch(patch(stored, 20, 1<<20), 24, 1<<20)
			return b
		}(), "cut short"},
		{"a local header elsewhere", patch(stored, 42, 5), "not a valid zip"},
		{"another size inside", change(bytes.Clone(stored), "(2,)", "(3,)"), "has 8 bytes of data, want 12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenZip(write(t, "a.npz", c.file), Options{})
			if err == nil || !strings.Contains(err.Error(), c.word) || !strings.Contains(err.Error(), "a.npz") {
				t.Errorf("got %v, want %q", err, c.word)
			}
		})
	}
	f, err := OpenZip(write(t, "a.npz", zipped(t, member{"readme.txt", zip.Deflate, []byte("x")})), Options{})
	if err != nil || len(f.Arrays) != 0 {
		t.Errorf("a zip without arrays: %v, %v", f, err)
	} else {
		f.Close()
	}
}

func TestABombIsNotUnpacked(t *testing.T) {
	const size = 64 << 20
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, zipFlate)
	w, err := z.Create("x.npy")
	if err != nil {
		t.Fatal(err)
	}
	w.Write(npyFile(1, dict("|u1", "(67108864,)"), ""))
	for range 64 {
		w.Write(make([]byte, size/64))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := OpenZip(write(t, "bomb.npz", b.Bytes()), Options{MaxMemory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.Arrays[0].Bytes()
	var limit *MemoryError
	if !errors.As(err, &limit) || limit.Need != size || limit.Have != 1<<20 || limit.Packed > size/500 {
		t.Errorf("got %v", err)
	}
}

func TestMoreThanDeclaredIsAnError(t *testing.T) {
	// The directory and the array's header agree on 8 bytes, the compressed stream goes on.
	small := npyFile(1, dict("<f4", "(2,)"), "12345678")
	b := zipped(t, member{"x.npy", zip.Deflate, append(bytes.Clone(small), "and more"...)})
	at := bytes.Index(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[at+24:], uint32(len(small)))
	f, err := OpenZip(write(t, "a.npz", b), Options{})
	if err != nil {
		return // found at once is as good
	}
	defer f.Close()
	if got, err := f.Arrays[0].Bytes(); err == nil {
		t.Errorf("%q was read", got)
	}
}

func TestChecksums(t *testing.T) {
	small := npyFile(1, dict("<f4", "(2,)"), "12345678")
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		b := zipped(t, member{"x.npy", method, small})
		at := bytes.Index(b, []byte("PK\x01\x02"))
		b[at+16] ^= 1
		f, err := OpenZip(write(t, "a.npz", b), Options{})
		if err == nil {
			defer f.Close()
			if _, err = f.Arrays[0].Bytes(); err == nil {
				err = f.Arrays[0].Verify()
			}
		}
		if !errors.Is(err, zip.ErrChecksum) {
			t.Errorf("method %d: %v, want %v", method, err, zip.ErrChecksum)
		}
	}
}

// FuzzZip holds that an array of a file that is read has the size that its header says, or an error.
func FuzzZip(f *testing.F) {
	small := npyFile(1, dict("<f4", "(2,)"), "12345678")
	f.Add(zipped(f, member{"x.npy", zip.Store, small}, member{"y.npy", zip.Deflate, small}))
	f.Add(zipped(f, member{"x.npy", zip.Deflate, npyFile(2, "{'shape': (3, 2), 'fortran_order': True, 'descr': '>i2'}", "123456789012")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		arrays, err := parseZip(b, Options{MaxMemory: 1 << 20})
		if err != nil {
			return
		}
		for _, a := range arrays {
			got, err := a.Bytes()
			if err == nil && int64(len(got)) != a.Header.Size() {
				t.Fatalf("%+v: %d bytes", a.Header, len(got))
			}
			_ = a.Verify()
		}
	})
}

// zipFlate compresses as well as deflate can.
var zipFlate zip.Compressor = func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) }
