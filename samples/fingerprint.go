package samples

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"

	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
)

// Fingerprint identifies what the steps are made of: the inputs' names, and the type, shape and elements of what feeds them, wherever and
// however they are stored, and how they are cut into steps. It reads all of it, and compares checksums that reading alone does not.
// Two sets with one fingerprint give the same steps as far as both have them.
func (s *Set) Fingerprint(ctx context.Context) (string, error) {
	if s.closed {
		return "", errClosed
	}
	h := xxhash.New()
	word := func(v int64) { binary.Write(h, binary.LittleEndian, v) }
	text := func(v string) { word(int64(len(v))); io.WriteString(h, v) }
	text("samples 1")
	word(s.batch)
	for _, f := range s.feeds {
		text(f.in.Name)
		word(int64(f.mode))
		word(int64(f.array.DType))
		word(int64(len(f.array.Shape)))
		for _, d := range f.array.Shape {
			word(d)
		}
		for _, p := range f.array.parts {
			if p.verify == nil {
				continue
			}
			if err := p.verify(); err != nil {
				return "", fmt.Errorf("array %q: %s: %w", f.array.Name, p.file, err)
			}
		}
		if err := f.array.each(func(b []byte) {
			for len(b) > 0 && ctx.Err() == nil {
				n := min(len(b), 1<<20)
				h.Write(b[:n])
				b = b[n:]
			}
		}); err != nil {
			return "", fmt.Errorf("array %q: %w", f.array.Name, err)
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
	for _, set := range s.sets {
		for _, f := range set.feeds {
			t := f.from.t
			text(f.in.Name)
			word(int64(t.DType))
			word(int64(len(t.Shape)))
			for _, d := range t.Shape {
				word(d)
			}
			for _, e := range t.Strings {
				text(string(e))
			}
			if t.Data == nil {
				continue
			}
			err := mapfile.Guard(func() error {
				_, err := t.Data.WriteTo(h)
				return err
			})
			if err != nil {
				return "", fmt.Errorf("%s: %w", f.from.file, err)
			}
		}
	}
	return fmt.Sprintf("xxh64:%016x", h.Sum64()), nil
}

// each hands out the array's bytes in order, little-endian and row-major, in pieces.
func (a *Array) each(take func([]byte)) error {
	if len(a.Shape) == 0 {
		b, err := a.whole()
		if err != nil {
			return err
		}
		take(b)
		return nil
	}
	if n, _ := a.Shape.Elements(); n == 0 {
		return nil
	}
	row := int64(a.DType.Bits() / 8)
	for _, d := range a.Shape[1:] {
		row *= d
	}
	step := max(1, (1<<20)/row)
	for lo := int64(0); lo < a.Shape[0]; lo += step {
		b, err := a.rows(lo, min(lo+step, a.Shape[0]))
		if err != nil {
			return err
		}
		take(b)
	}
	return nil
}
