package samples

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// maxLine bounds a line of a .jsonl file, which is read whole.
const maxLine = 64 << 20

// readJSONL reads a file of lines that are JSON objects, as tokenizers' scripts write them: a key that holds a list of whole numbers is an array with a
// row for each line. Other values, such as the text that the tokens came from, are passed over. All rows of an array have one length: how to pad is
// the model's affair, and a mask is an array of its own.
func (s *Set) readJSONL(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	rows := map[string]*jsonRows{}
	var names []string
	in := bufio.NewReaderSize(f, 1<<20)
	var size int64
	for line, n := 1, int64(0); ; line++ {
		b, err := readLine(in)
		if err == io.EOF {
			break
		}
		at := fmt.Sprintf("%s: line %d", file, line)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		if len(bytes.TrimSpace(b)) == 0 {
			continue
		}
		keys, lists, err := jsonLists(b)
		if err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		for _, key := range keys {
			r := rows[key]
			if r == nil && n > 0 {
				return fmt.Errorf("%s: key %q is in no line before it", at, key)
			}
			if r == nil {
				r = &jsonRows{length: len(lists[key])}
				rows[key] = r
				names = append(names, key)
			}
			if len(lists[key]) != r.length {
				return fmt.Errorf("%s: key %q: got %d numbers, want %d as in the first line", at, key, len(lists[key]), r.length)
			}
			for i, number := range lists[key] {
				v, err := strconv.ParseInt(string(number), 10, 64)
				if err != nil {
					return fmt.Errorf("%s: key %q: element %d: got %s, want a whole number", at, key, i, number)
				}
				r.bytes = binary.LittleEndian.AppendUint64(r.bytes, uint64(v))
			}
			r.rows++
			if size += int64(8 * r.length); s.opt.MaxMemory > 0 && size > s.opt.MaxMemory {
				return fmt.Errorf("%s: the numbers take more than %d bytes", at, s.opt.MaxMemory)
			}
		}
		if n++; len(keys) != len(names) {
			for _, name := range names {
				if !slices.Contains(keys, name) {
					return fmt.Errorf("%s: no list %q, which the first line has", at, name)
				}
			}
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("%s: no array in this file: no line holds a list of numbers", file)
	}
	s.files = append(s.files, file)
	for _, name := range names {
		r := rows[name]
		s.add(name, &part{file: file, dtype: tensor.Int64, shape: tensor.Shape{r.rows, int64(r.length)}, bytes: func() ([]byte, error) {
			if s.closed {
				return nil, errClosed
			}
			return r.bytes, nil
		}})
	}
	return nil
}

// jsonRows is one array of a .jsonl file.
type jsonRows struct {
	rows   int64
	length int
	bytes  []byte // int64, little-endian
}

// readLine is the next line, without its end; io.EOF after the last.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		b, err := in.ReadSlice('\n')
		line = append(line, b...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("it is longer than %d bytes", maxLine)
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0:
			return line, nil
		}
		return line, err
	}
}

// jsonLists are the keys of an object that hold lists of numbers, in their order, with the numbers as they are spelled.
func jsonLists(line []byte) (keys []string, lists map[string][]json.Number, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil {
		return nil, nil, fmt.Errorf("it is not JSON: %w", err)
	} else if t != json.Delim('{') {
		return nil, nil, fmt.Errorf("it is not a JSON object but begins with %v", t)
	}
	lists = map[string][]json.Number{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("it is not JSON: %w", err)
		}
		key := t.(string) // the decoder lets nothing else be a key
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, nil, fmt.Errorf("key %q: %w", key, err)
		}
		var list []json.Number
		if value[0] != '[' || bytes.Contains(value, []byte{'"'}) || json.Unmarshal(value, &list) != nil {
			continue
		}
		if _, twice := lists[key]; twice {
			return nil, nil, fmt.Errorf("the key %q stands twice", key)
		}
		keys, lists[key] = append(keys, key), list
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, fmt.Errorf("it is not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, fmt.Errorf("something follows the object")
	}
	return keys, lists, nil
}
