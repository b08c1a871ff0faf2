package layout

import (
	"fmt"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// gram is a node of the tree of n-grams: the items read so far, spelled as strings.
type gram struct {
	next map[string]*gram
	slot int // of the output, -1 where no n-gram ends
}

func newGram() *gram { return &gram{next: map[string]*gram{}, slot: -1} }

// vectorizer is a TfIdfVectorizer with its attributes.
type vectorizer struct {
	mode           string
	shortest, most int64
	skips          int64
	root           *gram
	size           int
	weights        []float32 // by slot, nil for ones
}

// makeTfIdfVectorizer counts n-grams of strings or integers in [C] or [B,C], with up to max_skip_count items left out between two.
func makeTfIdfVectorizer(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	v := &vectorizer{
		mode:     r.Word("mode", "", "TF", "IDF", "TFIDF"),
		shortest: r.Int("min_gram_length", 0),
		most:     r.Int("max_gram_length", 0),
		skips:    r.Int("max_skip_count", 0),
		root:     newGram(),
	}
	starts, _ := r.Ints("ngram_counts")
	slots, _ := r.Ints("ngram_indexes")
	weights, weighted := r.Floats("weights")
	pool, asText := r.Strings("pool_strings")
	if numbers, ok := r.Ints("pool_int64s"); ok {
		if asText {
			r.Fail("both %q and %q are given", "pool_strings", "pool_int64s")
		}
		for _, n := range numbers {
			pool = append(pool, strconv.FormatInt(n, 10))
		}
	}
	if v.mode == "" || v.shortest < 1 || v.most < v.shortest || v.skips < 0 {
		r.Fail("mode %q, gram lengths %d to %d, %d skips", v.mode, v.shortest, v.most, v.skips)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	for _, n := range slots {
		if n < 0 || n >= maxExtent {
			return nil, fmt.Errorf("ngram_indexes: %d is no place of the output", n)
		}
		v.size = max(v.size, int(n)+1)
	}
	if weighted && len(weights) != len(slots) {
		return nil, fmt.Errorf("%d weights for %d n-grams", len(weights), len(slots))
	}
	if err := v.plant(pool, starts, slots); err != nil {
		return nil, err
	}
	if weighted {
		// The description counts weights by n-gram. The reference implementation and ONNX Runtime count them by the place in the
		// output, and so do the models that were tried in them.
		if v.size > len(weights) {
			return nil, fmt.Errorf("%d weights for an output of %d", len(weights), v.size)
		}
		v.weights = weights
	}
	return v.run, nil
}

// plant builds the tree. The pool holds all 1-grams, then all 2-grams, and so on; starts says where each of these begins.
func (v *vectorizer) plant(pool []string, starts, slots []int64) error {
	id := 0
	for i, start := range starts {
		end := int64(len(pool))
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		n := int64(i + 1)
		if start < 0 || end < start || end > int64(len(pool)) || (end-start)%n != 0 {
			return fmt.Errorf("ngram_counts %v do not divide a pool of %d", starts, len(pool))
		}
		for at := start; at < end; at += n {
			if id >= len(slots) {
				return fmt.Errorf("%d ngram_indexes for more n-grams", len(slots))
			}
			if n >= v.shortest && n <= v.most {
				g := v.root
				for _, item := range pool[at : at+n] {
					if g.next[item] == nil {
						g.next[item] = newGram()
					}
					g = g.next[item]
				}
				g.slot = int(slots[id])
			}
			id++
		}
	}
	return nil
}

func (v *vectorizer) run(c *kernel.Call) error {
	t, err := c.Tensor(0)
	if err != nil {
		return err
	}
	items := t.Strings
	switch t.DType {
	case tensor.String:
	case tensor.Int32, tensor.Int64:
		n, err := c.Ints(0)
		if err != nil {
			return err
		}
		items = make([]string, len(n))
		for i, x := range n {
			items[i] = strconv.FormatInt(x, 10)
		}
	default:
		return fmt.Errorf("input is %s, want strings, int32 or int64", t)
	}
	rows, shape := 1, []int{v.size}
	switch {
	case len(t.Shape) == 2:
		rows = t.Shape[0]
		shape = []int{rows, v.size}
	case len(t.Shape) > 2:
		return fmt.Errorf("input is %s, want [C] or [B,C]", t)
	}
	out, err := c.New(0, tensor.Float32, shape)
	if err != nil {
		return err
	}
	zero(out)
	if out.Len() == 0 {
		return nil
	}
	n := len(items) / rows
	counts := kernel.Of[float32](out)
	for i := range rows {
		v.count(counts[i*v.size:(i+1)*v.size], items[i*n:(i+1)*n])
	}
	for i, f := range counts {
		w := float32(1)
		if v.weights != nil {
			w = v.weights[i%v.size]
		}
		switch {
		case v.mode == "TFIDF":
			counts[i] = w * f
		case v.mode == "IDF" && f > 0:
			counts[i] = w
		}
	}
	return nil
}

// count adds up the n-grams of one row. 1-grams do not depend on the distance between items and count once.
func (v *vectorizer) count(into []float32, row []string) {
	shortest := v.shortest
	for distance := int64(1); distance <= v.skips+1 && distance <= int64(max(len(row), 1)); distance++ {
		for start := range row {
			g := v.root
			for n, at := int64(1), int64(start); n <= v.most && at < int64(len(row)); n, at = n+1, at+distance {
				if g = g.next[row[at]]; g == nil {
					break
				}
				if n >= shortest && g.slot >= 0 {
					into[g.slot]++
				}
			}
		}
		if shortest == 1 {
			if shortest = 2; shortest > v.most {
				break
			}
		}
	}
}
