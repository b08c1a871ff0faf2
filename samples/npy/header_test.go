package npy

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// npyFile is a .npy file of version major with this literal and data.
func npyFile(major byte, literal, data string) []byte {
	b := append([]byte(magic), major, 0)
	if major == 1 {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(literal)))
	} else {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(literal)))
	}
	return append(append(b, literal...), data...)
}

func dict(descr, shape string) string {
	return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n"
}

func TestHeadersThatAreRead(t *testing.T) {
	for _, c := range []struct {
		name, literal string
		d             tensor.DType
		shape         string
		fortran, big  bool
	}{
		{"as NumPy writes it", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n", tensor.Float32, "[2,3]", false, false},
		{"a scalar", dict("<i8", "()"), tensor.Int64, "[]", false, false},
		{"one axis", dict("|b1", "(5,)"), tensor.Bool, "[5]", false, false},
		{"two axes and a comma", dict("|u1", "(5,6,)"), tensor.Uint8, "[5,6]", false, false},
		{"long numbers of Python 2", dict("<f2", "(5L, 6L)"), tensor.Float16, "[5,6]", false, false},
		{"most significant byte first", dict(">i4", "(1,)"), tensor.Int32, "[1]", false, true},
		{"one byte has no order", dict(">i1", "(1,)"), tensor.Int8, "[1]", false, false},
		{"other quotes, other order, no spaces", `{"shape":(3,),"fortran_order":True,"descr":"<u2"}`, tensor.Uint16, "[3]", true, false},
		{"no element", dict("<f8", "(0, 9223372036854775807)"), tensor.Float64, "[0,9223372036854775807]", false, false},
	} {
		for major := byte(1); major <= 3; major++ {
			b := npyFile(major, c.literal, "data")
			h, err := ParseHeader(b)
			if err != nil {
				t.Errorf("%s, version %d: %v", c.name, major, err)
				continue
			}
			if h.DType != c.d || h.Shape.String() != c.shape || h.Fortran != c.fortran || h.BigEndian != c.big || string(b[h.Offset:]) != "data" {
				t.Errorf("%s, version %d: %+v", c.name, major, h)
			}
		}
	}
}

func TestEveryElementTypeHasItsWidth(t *testing.T) {
	for descr, want := range map[string]tensor.DType{"|b1": tensor.Bool, "|i1": tensor.Int8, "<i2": tensor.Int16, "<i4": tensor.Int32, "<i8": tensor.Int64,
		"|u1": tensor.Uint8, "<u2": tensor.Uint16, "<u4": tensor.Uint32, "<u8": tensor.Uint64, "<f2": tensor.Float16, "<f4": tensor.Float32, "<f8": tensor.Float64} {
		h, err := ParseHeader(npyFile(1, dict(descr, "(1,)"), ""))
		if err != nil || h.DType != want || int(descr[2]-'0') != want.Bits()/8 {
			t.Errorf("%s: %s, %v; want %s", descr, h.DType, err, want)
		}
	}
}

func TestEachWrongHeaderHasItsError(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		word string
		is   error
	}{
		{"no bytes", nil, "the file is empty", nil},
		{"another file", []byte("PK\x03\x04 and more"), `starts with "PK`, nil},
		{"a short file that is another", []byte("PK"), "no .npy file", nil},
		{"the start of the magic", []byte(magic), "cut short", ErrTruncated},
		{"no length", []byte(magic + "\x02\x00ab"), "cut short", ErrTruncated},
		{"version 4", npyFile(4, dict("<f4", "(1,)"), ""), "version 4.0", nil},
		{"version 0", npyFile(0, dict("<f4", "(1,)"), ""), "version 0.0", nil},
		{"a header beyond the file", append([]byte(magic), 1, 0, 200, 0, '{'), "declares 200 bytes and 1 are there", ErrTruncated},
		{"a header of 4 GB", append([]byte(magic), 2, 0, 255, 255, 255, 255), "declares 4294967295 bytes, want at most", nil},
		{"no UTF-8 in version 3", npyFile(3, "{'\xff': 1}", ""), "UTF-8", nil},
		{"Python objects", npyFile(1, dict("|O", "(1,)"), ""), "pickle", ErrPickle},
		{"Python objects in the old spelling", npyFile(1, dict("O8", "(1,)"), ""), "pickle", ErrPickle},
		{"a structured type", npyFile(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", ""), "structured", ErrUnsupported},
		{"bfloat16", npyFile(1, dict("<V2", "(1,)"), ""), "bfloat16", ErrUnsupported},
		{"text", npyFile(1, dict("<U3", "(1,)"), ""), "strings", ErrUnsupported},
		{"dates", npyFile(1, dict("<M8[ns]", "(1,)"), ""), "dates", ErrUnsupported},
		{"complex numbers", npyFile(1, dict("<c8", "(1,)"), ""), "complex", ErrUnsupported},
		{"128 bits", npyFile(1, dict("<f16", "(1,)"), ""), "this width", ErrUnsupported},
		{"the machine's own order", npyFile(1, dict("=f4", "(1,)"), ""), `byte order "="`[:10], ErrUnsupported},
		{"no order for two bytes", npyFile(1, dict("|f2", "(1,)"), ""), "byte order", ErrUnsupported},
		{"an unknown type", npyFile(1, dict("<q9", "(1,)"), ""), "unknown", ErrUnsupported},
		{"no type", npyFile(1, dict("<", "(1,)"), ""), "no type", ErrUnsupported},
		{"an expression", npyFile(1, "__import__('os').system('x')", ""), `want "{"`, nil},
		{"an expression for the shape", npyFile(1, dict("<f4", "(f(),)"), ""), "length of an axis", nil},
		{"a sum for an axis", npyFile(1, dict("<f4", "(1+1,)"), ""), `want ")"`, nil},
		{"a negative axis", npyFile(1, dict("<f4", "(-1,)"), ""), "length of an axis", nil},
		{"a number for the shape", npyFile(1, dict("<f4", "3"), ""), `want "("`, nil},
		{"a number in parentheses", npyFile(1, dict("<f4", "(3)"), ""), "want a tuple", nil},
		{"an axis beyond 64 bits", npyFile(1, dict("<f4", "(99999999999999999999,)"), ""), "out of range", nil},
		{"a shape that overflows", npyFile(1, dict("<f4", "(4611686018427387904, 4)"), ""), "overflows", nil},
		{"a size that overflows", npyFile(1, dict("<f8", "(4611686018427387904,)"), ""), "overflows", nil},
		{"65 axes", npyFile(1, dict("<f4", "("+strings.Repeat("1,", 65)+")"), ""), "more than 64 axes", nil},
		{"a word for the order", npyFile(1, "{'descr': '<f4', 'fortran_order': None, 'shape': (1,), }", ""), "want True or False", nil},
		{"a key too many", npyFile(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", ""), `unknown key "x"`, nil},
		{"a key twice", npyFile(1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", ""), `"descr" twice`, nil},
		{"a key missing", npyFile(1, "{'descr': '<f4', 'shape': (1,)}", ""), `no key "fortran_order"`, nil},
		{"something after it", npyFile(1, dict("<f4", "(1,)")+"x", ""), `"x" after`, nil},
		{"a zero byte after it", npyFile(1, dict("<f4", "(1,)")+"\x00", ""), "after the literal", nil},
		{"no end", npyFile(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", ""), `want "}"`, nil},
		{"a string without end", npyFile(1, "{'descr", ""), "has no end", nil},
		{"an escape", npyFile(1, `{'desc\x72': '<f4'}`, ""), "escape", nil},
		{"a key that is no string", npyFile(1, "{1: 2}", ""), "want a string", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseHeader(c.file)
			if err == nil || !strings.Contains(err.Error(), c.word) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("got %v, want %q", err, c.word)
			}
		})
	}
}

// FuzzParseHeader holds that a header that is read describes data of a size that exists.
func FuzzParseHeader(f *testing.F) {
	f.Add(npyFile(1, dict("<f4", "(2, 3)"), "data"))
	f.Add(npyFile(2, dict(">i8", "()"), ""))
	f.Add(npyFile(3, "{'shape': (5L,), 'fortran_order': True, 'descr': '|b1'}", ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		n, err := h.Shape.Elements()
		if err != nil {
			t.Fatal(err)
		}
		size, err := h.DType.ByteSize(n)
		if err != nil || size != h.Size() || h.Offset > int64(len(b)) || h.Offset < 10 {
			t.Fatalf("%+v: %d bytes, %v", h, size, err)
		}
	})
}
