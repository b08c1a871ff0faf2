package safetensors

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Order sorts tensors as the reference implementation writes them: wide elements first, so that every tensor is aligned to its
// elements, and by name among those of one width.
func Order(tensors []Tensor) {
	slices.SortStableFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(-cmp.Compare(a.DType.Bits(), b.DType.Bits()), cmp.Compare(a.Name, b.Name))
	})
}

// Size is the number of bytes that Write writes.
func Size(tensors []Tensor, metadata map[string]string) (int64, error) {
	header, size, err := makeHeader(tensors, metadata)
	if err != nil {
		return 0, err
	}
	return 8 + int64(len(header)) + size, nil
}

// Header is what stands before the content of the first tensor in the file that Write writes. Each tensor follows the one before it without a
// gap, so whoever knows the header can write the tensors in any order, and at the same time.
func Header(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	header, _, err := makeHeader(tensors, metadata)
	if err != nil {
		return nil, err
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), nil
}

// Write writes tensors in the order given. The header comes first and the content follows as it is computed, so nothing as large as a
// tensor is held. The same tensors and metadata give the same bytes: the metadata is sorted by key, and the header is padded with spaces
// to a multiple of eight bytes. It returns the number of bytes written.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) (int64, error) {
	header, _, err := makeHeader(tensors, metadata)
	if err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(w, 1<<16)
	out.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header))))
	out.Write(header)
	total := 8 + int64(len(header))
	for _, t := range tensors {
		n, err := t.Data.WriteTo(out)
		total += n
		if err == nil && n != t.Data.Size() {
			err = fmt.Errorf("%d bytes written, want %d", n, t.Data.Size())
		}
		if err != nil {
			return total, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
	}
	return total, out.Flush()
}

// makeHeader is the header and the number of bytes that follow it.
func makeHeader(tensors []Tensor, metadata map[string]string) ([]byte, int64, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	if metadata != nil {
		b.WriteString(`"` + metadataKey + `":{`)
		for i, k := range slices.Sorted(maps.Keys(metadata)) {
			if i > 0 {
				b.WriteByte(',')
			}
			if !utf8.ValidString(k) || !utf8.ValidString(metadata[k]) {
				return nil, 0, fmt.Errorf("metadata %q: %w: it is not valid UTF-8", k, ErrName)
			}
			quote(&b, k)
			b.WriteByte(':')
			quote(&b, metadata[k])
		}
		b.WriteByte('}')
	}
	seen := make(map[string]bool, len(tensors))
	at := int64(0)
	for i, t := range tensors {
		end, err := checkTensor(t, seen, at)
		if err != nil {
			return nil, 0, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if i > 0 || metadata != nil {
			b.WriteByte(',')
		}
		quote(&b, t.Name)
		fmt.Fprintf(&b, `:{"dtype":%q,"shape":[`, names[t.DType])
		for i, n := range t.Shape {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.FormatInt(n, 10))
		}
		fmt.Fprintf(&b, `],"data_offsets":[%d,%d]}`, at, end)
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > maxHeader {
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrHeaderSize, b.Len())
	}
	return b.Bytes(), at, nil
}

// checkTensor finds what the format cannot hold, and gives where the tensor ends.
func checkTensor(t Tensor, seen map[string]bool, at int64) (int64, error) {
	switch {
	case t.Tensor == nil || t.Data == nil:
		return 0, fmt.Errorf("it has no data")
	case t.Name == metadataKey:
		return 0, fmt.Errorf("%w: it is kept for metadata", ErrName)
	case !utf8.ValidString(t.Name):
		return 0, fmt.Errorf("%w: it is not valid UTF-8", ErrName)
	case seen[t.Name]:
		return 0, ErrDuplicate
	case names[t.DType] == "":
		return 0, fmt.Errorf("%w: %s", ErrDType, t.DType)
	case len(t.Shape) > maxRank:
		return 0, fmt.Errorf("%w: %d axes, want at most %d", ErrShape, len(t.Shape), maxRank)
	}
	seen[t.Name] = true
	e := entry{dtype: t.DType, shape: t.Shape}
	size, err := e.size()
	if err != nil {
		return 0, err
	}
	if size != t.Data.Size() {
		return 0, fmt.Errorf("%w: %s%s takes %d bytes, the data has %d", ErrSize, t.DType, t.Shape, size, t.Data.Size())
	}
	if at > (1<<62)-size {
		return 0, ErrOverflow
	}
	return at + size, nil
}

// quote writes s as JSON, with < and > as they are: names are no HTML.
func quote(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	e.Encode(s)             // of a string, into memory: it cannot fail
	b.Truncate(b.Len() - 1) // the newline that Encode adds
}

// TypeName is the format's name of an element type; false where it has none.
func TypeName(d tensor.DType) (string, bool) { n, ok := names[d]; return n, ok }
