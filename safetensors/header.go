package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// metadataKey is the one key of a header that names no tensor.
const metadataKey = "__metadata__"

// maxRank bounds what a header can make of a few bytes.
const maxRank = 64

// entry is what a header says about one tensor.
type entry struct {
	name       string
	dtype      tensor.DType
	shape      tensor.Shape
	begin, end uint64 // relative to the end of the header
}

// walker reads JSON token by token: encoding/json's own decoding into a map would take the last of two equal keys without a word.
type walker struct {
	d     *json.Decoder
	cause error // what every error wraps
}

func newWalker(b []byte, cause error) *walker {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return &walker{d, cause}
}

func (w *walker) token() (json.Token, error) {
	t, err := w.d.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("%w: at byte %d: %w", w.cause, w.d.InputOffset(), err)
	}
	return t, nil
}

func (w *walker) wrong(got json.Token, want string) error {
	text := fmt.Sprintf("%v", got)
	if s, is := got.(string); is {
		text = strconv.Quote(s)
	}
	if len(text) > 40 {
		text = text[:40] + "…"
	}
	return fmt.Errorf("%w: at byte %d: got %s, want %s", w.cause, w.d.InputOffset(), text, want)
}

func (w *walker) want(d json.Delim, what string) error {
	t, err := w.token()
	if err != nil {
		return err
	}
	if t != d {
		return w.wrong(t, what)
	}
	return nil
}

// object hands each key of an object to take, which reads the value.
func (w *walker) object(what string, take func(key string) error) error {
	if err := w.want('{', what); err != nil {
		return err
	}
	seen := map[string]bool{}
	for w.d.More() {
		t, err := w.token()
		if err != nil {
			return err
		}
		key := t.(string) // the decoder lets nothing else be a key
		if seen[key] {
			return fmt.Errorf("%w: %q", ErrDuplicate, key)
		}
		seen[key] = true
		if err := take(key); err != nil {
			return err
		}
	}
	return w.want('}', "the end of an object")
}

func (w *walker) text(what string) (string, error) {
	t, err := w.token()
	if err != nil {
		return "", err
	}
	s, is := t.(string)
	if !is {
		return "", w.wrong(t, what)
	}
	return s, nil
}

// numbers reads an array of at most max whole numbers.
func (w *walker) numbers(what string, max int) ([]uint64, error) {
	if err := w.want('[', what); err != nil {
		return nil, err
	}
	out := []uint64{}
	for w.d.More() {
		t, err := w.token()
		if err != nil {
			return nil, err
		}
		n, is := t.(json.Number)
		if !is {
			return nil, w.wrong(t, "a number")
		}
		v, err := strconv.ParseUint(n.String(), 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("%w: %s", ErrOverflow, n)
		}
		if err != nil {
			return nil, w.wrong(t, "a whole number that is not negative")
		}
		if len(out) == max {
			return nil, fmt.Errorf("%w: more than %d numbers in %s", ErrShape, max, what)
		}
		out = append(out, v)
	}
	return out, w.want(']', "the end of an array")
}

// end checks that only white space follows.
func (w *walker) end() error {
	t, err := w.d.Token()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: after the end: %w", w.cause, err)
	}
	return w.wrong(t, "the end")
}

func parseHeader(b []byte) (entries []entry, metadata map[string]string, err error) {
	w := newWalker(b, ErrJSON)
	err = w.object("an object", func(key string) error {
		if key == metadataKey {
			metadata = map[string]string{}
			w.cause = ErrMetadata
			defer func() { w.cause = ErrJSON }()
			return w.object("an object", func(key string) (err error) {
				metadata[key], err = w.text("a string")
				return err
			})
		}
		e, err := w.entry(key)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", key, err)
		}
		entries = append(entries, e)
		return nil
	})
	if err == nil {
		err = w.end()
	}
	return entries, metadata, err
}

func (w *walker) entry(name string) (entry, error) {
	e := entry{name: name}
	seen := map[string]bool{}
	err := w.object("an object", func(key string) error {
		seen[key] = true
		switch key {
		case "dtype":
			text, err := w.text("a string")
			if err != nil {
				return err
			}
			d, known := dtypes[text]
			if !known {
				return fmt.Errorf("%w: %q", ErrDType, text)
			}
			e.dtype = d
		case "shape":
			axes, err := w.numbers("shape", maxRank)
			if err != nil {
				return err
			}
			e.shape = make(tensor.Shape, len(axes))
			for i, n := range axes {
				if n > 1<<62 {
					return fmt.Errorf("%w: axis %d of length %d", ErrOverflow, i, n)
				}
				e.shape[i] = int64(n)
			}
		case "data_offsets":
			at, err := w.numbers("data_offsets", 2)
			if err != nil {
				return err
			}
			if len(at) != 2 {
				return fmt.Errorf("%w: %d numbers in data_offsets, want 2", ErrJSON, len(at))
			}
			e.begin, e.end = at[0], at[1]
		default:
			return fmt.Errorf("%w: unknown key %q", ErrJSON, key)
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return e, fmt.Errorf("%w: no %s", ErrJSON, key)
		}
	}
	return e, nil
}
