package layout

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// text is the string input at i.
func text(c *kernel.Call, i int) (*kernel.Tensor, error) {
	t, err := c.Tensor(i)
	if err != nil {
		return nil, err
	}
	if t.DType != tensor.String {
		return nil, fmt.Errorf("input %d is %s, want strings", i, t)
	}
	return t, nil
}

// makeStringNormalizer drops stop words from [C] or [1,C] and changes case. What is left is never empty: at least one empty string.
func makeStringNormalizer(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	change := r.Word("case_change_action", "NONE", "NONE", "LOWER", "UPPER")
	sensitive := r.Flag("is_case_sensitive", false)
	words, _ := r.Strings("stopwords")
	r.String("locale", "") // Go's case mapping is that of Unicode, the same everywhere
	if err := r.Done(); err != nil {
		return nil, err
	}
	key := strings.ToLower
	if sensitive {
		key = func(s string) string { return s }
	}
	stop := map[string]bool{}
	for _, w := range words {
		stop[key(w)] = true
	}
	return func(c *kernel.Call) error {
		t, err := text(c, 0)
		if err != nil {
			return err
		}
		if len(t.Shape) != 1 && (len(t.Shape) != 2 || t.Shape[0] != 1) {
			return fmt.Errorf("input is %s, want [C] or [1,C]", t)
		}
		var kept []string
		for _, w := range t.Strings {
			if stop[key(w)] {
				continue
			}
			switch change {
			case "LOWER":
				w = strings.ToLower(w)
			case "UPPER":
				w = strings.ToUpper(w)
			}
			kept = append(kept, w)
		}
		if len(kept) == 0 {
			kept = []string{""}
		}
		shape := append([]int(nil), t.Shape...)
		shape[len(shape)-1] = len(kept)
		out, err := c.New(0, tensor.String, shape)
		if err != nil {
			return err
		}
		copy(out.Strings, kept)
		return nil
	}, nil
}

// makeStringConcat joins strings pairwise, broadcasting.
func makeStringConcat(s *kernel.Site) (kernel.Func, error) {
	if err := s.Attrs().Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		a, err := text(c, 0)
		if err != nil {
			return err
		}
		b, err := text(c, 1)
		if err != nil {
			return err
		}
		shape, err := kernel.Broadcast(a.Shape, b.Shape)
		if err != nil {
			return err
		}
		out, err := c.New(0, tensor.String, shape)
		if err != nil {
			return err
		}
		right, err := c.Mem.New(tensor.String, shape)
		if err != nil {
			return err
		}
		to := kernel.Strides(shape)
		copyStrided(c.Pool, out, 0, to, a, 0, kernel.BroadcastStrides(a.Shape, shape), shape)
		copyStrided(c.Pool, right, 0, to, b, 0, kernel.BroadcastStrides(b.Shape, shape), shape)
		for i := range out.Strings {
			out.Strings[i] += right.Strings[i]
		}
		return nil
	}, nil
}

// makeStringSplit splits every string at a delimiter, or at runs of white space, into a new last axis as long as the longest list, the
// others filled with empty strings; the second output counts.
func makeStringSplit(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	delimiter := r.String("delimiter", "")
	limit := -1
	if n := r.Int("maxsplit", -1); r.Has("maxsplit") && n >= 0 {
		limit = int(min(n, 1<<31-1))
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := text(c, 0)
		if err != nil {
			return err
		}
		parts := make([][]string, len(t.Strings))
		most := 0
		for i, s := range t.Strings {
			switch {
			case delimiter == "":
				parts[i] = fields(s, limit)
			case limit < 0:
				parts[i] = strings.Split(s, delimiter)
			default:
				parts[i] = strings.SplitN(s, delimiter, limit+1)
			}
			most = max(most, len(parts[i]))
		}
		out, err := c.New(0, tensor.String, with(t.Shape, len(t.Shape), most))
		if err != nil {
			return err
		}
		for i, p := range parts {
			copy(out.Strings[i*most:], p)
		}
		if !c.Wants(1) {
			return nil
		}
		counts, err := c.New(1, tensor.Int64, t.Shape)
		if err != nil {
			return err
		}
		for i, d := 0, kernel.Of[int64](counts); i < len(d); i++ {
			d[i] = int64(len(parts[i]))
		}
		return nil
	}, nil
}

// fields splits at runs of white space at most limit times; what is left over keeps the space at its end.
func fields(s string, limit int) []string {
	if limit < 0 {
		return strings.Fields(s)
	}
	var out []string
	for s = strings.TrimLeftFunc(s, unicode.IsSpace); s != ""; s = strings.TrimLeftFunc(s, unicode.IsSpace) {
		n := strings.IndexFunc(s, unicode.IsSpace)
		if n < 0 || len(out) == limit {
			return append(out, s)
		}
		out, s = append(out, s[:n]), s[n:]
	}
	return out
}

// makeRegexFullMatch says which strings a pattern in RE2's syntax, which is Go's, matches as a whole.
func makeRegexFullMatch(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	pattern := r.String("pattern", "")
	if !r.Has("pattern") {
		r.Fail("attribute %q is missing", "pattern")
	}
	if _, err := regexp.Compile(pattern); err != nil {
		r.Fail("attribute %q: %w", "pattern", err)
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	whole := regexp.MustCompile(`\A(?:` + pattern + `)\z`)
	return func(c *kernel.Call) error {
		t, err := text(c, 0)
		if err != nil {
			return err
		}
		out, err := c.New(0, tensor.Bool, t.Shape)
		if err != nil {
			return err
		}
		d := kernel.Of[bool](out)
		for i, s := range t.Strings {
			d[i] = whole.MatchString(s)
		}
		return nil
	}, nil
}
