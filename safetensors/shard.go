package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// IndexSuffix ends the name of an index, after the name that the shards share: model.safetensors.index.json.
const IndexSuffix = ".safetensors.index.json"

// maxIndex is the largest index that is read: that of a file's header.
const maxIndex = maxHeader

// Set is a set of open shards.
type Set struct {
	Tensors  []Tensor         // that the index names: by shard, in the order of their bytes
	Shards   map[string]*File // by file name
	Unlisted []string         // tensors that lie in a shard and that the index does not place there

	byName map[string]*tensor.Tensor
}

// OpenSet opens the shards that the index at path names. A shard is a file beside the index: its name has no folder. It may be a link,
// as download caches make them.
func OpenSet(path string) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxIndex {
		return nil, fmt.Errorf("%s: %w: want a regular file of at most %d bytes", path, ErrIndex, maxIndex)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	places, err := ParseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s := &Set{Shards: map[string]*File{}, byName: make(map[string]*tensor.Tensor, len(places))}
	shards := slices.Compact(slices.Sorted(maps.Values(places)))
	for _, name := range shards {
		f, err := Open(filepath.Join(filepath.Dir(path), name))
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		s.Shards[name] = f
		for _, t := range f.Tensors {
			if places[t.Name] != name {
				s.Unlisted = append(s.Unlisted, t.Name)
				continue
			}
			s.Tensors = append(s.Tensors, t)
			s.byName[t.Name] = t.Tensor
		}
	}
	for _, name := range slices.Sorted(maps.Keys(places)) {
		if s.byName[name] == nil {
			s.Close()
			return nil, fmt.Errorf("%s: %w: %q in %q", path, ErrIndexMissing, name, places[name])
		}
	}
	return s, nil
}

// Tensor is the tensor of this name, nil where there is none.
func (s *Set) Tensor(name string) *tensor.Tensor { return s.byName[name] }

// Close unmaps all shards.
func (s *Set) Close() error {
	var first error
	for _, f := range s.Shards {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// ParseIndex reads an index: the file name of every tensor. What else the index says is passed over.
func ParseIndex(b []byte) (map[string]string, error) {
	if !utf8.Valid(b) {
		return nil, ErrUTF8
	}
	w := newWalker(b, ErrIndex)
	var places map[string]string
	err := w.object("an object", func(key string) error {
		if key != "weight_map" {
			var rest json.RawMessage
			if err := w.d.Decode(&rest); err != nil {
				return fmt.Errorf("%w: %q: %w", ErrIndex, key, err)
			}
			return nil
		}
		places = map[string]string{}
		return w.object("an object", func(name string) error {
			file, err := w.text("a file name")
			if err != nil {
				return err
			}
			if !plain(file) {
				return fmt.Errorf("%w: tensor %q in %q", ErrIndexPath, name, file)
			}
			places[name] = file
			return nil
		})
	})
	if err == nil {
		err = w.end()
	}
	if err == nil && places == nil {
		err = fmt.Errorf("%w: no weight_map", ErrIndex)
	}
	return places, err
}

// plain reports whether a name is that of a file in the folder itself, on every system.
func plain(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00") && filepath.IsLocal(name)
}

// Shard is one file of a set that is to be written.
type Shard struct {
	Name    string
	Tensors []Tensor
}

// Split divides tensors, in their order, into shards of at most max bytes of content each; a tensor larger than that has a shard of its
// own. The shards are called base-00001-of-00003.safetensors; a single one is called base.safetensors.
func Split(base string, tensors []Tensor, max int64) []Shard {
	shards := []Shard{{}}
	size := int64(0)
	for _, t := range tensors {
		last := &shards[len(shards)-1]
		if len(last.Tensors) > 0 && size+t.Size() > max {
			shards = append(shards, Shard{})
			last, size = &shards[len(shards)-1], 0
		}
		last.Tensors = append(last.Tensors, t)
		size += t.Size()
	}
	for i := range shards {
		shards[i].Name = fmt.Sprintf("%s-%05d-of-%05d.safetensors", base, i+1, len(shards))
	}
	if len(shards) == 1 {
		shards[0].Name = base + ".safetensors"
	}
	return shards
}

// WriteIndex writes the index of shards: their total size and the file of each tensor, sorted by name.
func WriteIndex(w io.Writer, shards []Shard) error {
	places, total := map[string]string{}, int64(0)
	for _, s := range shards {
		for _, t := range s.Tensors {
			if _, twice := places[t.Name]; twice {
				return fmt.Errorf("tensor %q: %w", t.Name, ErrDuplicate)
			}
			places[t.Name] = s.Name
			total += t.Size()
		}
	}
	var b bytes.Buffer
	b.WriteString("{\n  \"metadata\": {\n    \"total_size\": " + strconv.FormatInt(total, 10) + "\n  },\n  \"weight_map\": {")
	for i, name := range slices.Sorted(maps.Keys(places)) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		quote(&b, name)
		b.WriteString(": ")
		quote(&b, places[name])
	}
	b.WriteString("\n  }\n}\n")
	_, err := w.Write(b.Bytes())
	return err
}
