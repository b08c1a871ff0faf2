package layout

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// makeLabelEncoder (ai.onnx.ml) maps keys to values of another type, and everything else to a default. Version 1 maps strings to their
// places in a list and back.
func makeLabelEncoder(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	strings, integer, real := r.String("default_string", "_Unused"), r.Int("default_int64", -1), r.Float("default_float", float32(math.Copysign(0, -1)))
	if classes, ok := r.Strings("classes_strings"); ok {
		if err := r.Done(); err != nil {
			return nil, err
		}
		places := make([]int64, len(classes))
		for i := range places {
			places[i] = int64(i)
		}
		names := texts(classes)
		numbers := kernel.FromSlice(tensor.Int64, []int{len(places)}, places)
		there, err := newDictionary(names, numbers, kernel.FromSlice(tensor.Int64, []int{1}, []int64{integer}))
		if err != nil {
			return nil, err
		}
		back, err := newDictionary(numbers, names, texts([]string{strings}))
		if err != nil {
			return nil, err
		}
		return func(c *kernel.Call) error {
			if t := c.Optional(0); t != nil && t.DType == tensor.String {
				return there.run(c)
			}
			return back.run(c)
		}, nil
	}
	list := func(prefix string) *kernel.Tensor {
		var found []*kernel.Tensor
		if v, ok := r.Strings(prefix + "_strings"); ok {
			found = append(found, texts(v))
		}
		if v, ok := r.Ints(prefix + "_int64s"); ok {
			found = append(found, kernel.FromSlice(tensor.Int64, []int{len(v)}, v))
		}
		if v, ok := r.Floats(prefix + "_floats"); ok {
			found = append(found, kernel.FromSlice(tensor.Float32, []int{len(v)}, v))
		}
		if t := r.Tensor(prefix + "_tensor"); t != nil {
			found = append(found, t)
		}
		if len(found) != 1 {
			r.Fail("%d lists of %s, want 1", len(found), prefix)
			return &kernel.Tensor{}
		}
		return found[0]
	}
	keys, values := list("keys"), list("values")
	def := r.Tensor("default_tensor")
	if err := r.Done(); err != nil {
		return nil, err
	}
	if def == nil {
		switch values.DType {
		case tensor.String:
			def = texts([]string{strings})
		case tensor.Int64:
			def = kernel.FromSlice(tensor.Int64, []int{1}, []int64{integer})
		case tensor.Float32:
			def = kernel.FromSlice(tensor.Float32, []int{1}, []float32{real})
		default:
			def = &kernel.Tensor{DType: values.DType, Shape: []int{1}, Bytes: make([]byte, width(values))}
			if err := store(def, []float64{float64(integer)}, math.Trunc); err != nil {
				return nil, err
			}
		}
	}
	d, err := newDictionary(keys, values, def)
	if err != nil {
		return nil, err
	}
	return d.run, nil
}

func texts(v []string) *kernel.Tensor {
	return &kernel.Tensor{DType: tensor.String, Shape: []int{len(v)}, Strings: v}
}

// dictionary maps elements of one type to elements of another.
type dictionary struct {
	keys   tensor.DType
	byText map[string]int
	byBits map[uint64]int
	values *kernel.Tensor // with the default behind them
}

func newDictionary(keys, values, def *kernel.Tensor) (*dictionary, error) {
	n := keys.Len()
	if values.Len() != n || def.Len() != 1 || def.DType != values.DType {
		return nil, fmt.Errorf("keys %s, values %s and default %s do not go together", keys, values, def)
	}
	d := &dictionary{keys: keys.DType, values: &kernel.Tensor{DType: values.DType, Shape: []int{n + 1}}}
	if values.DType == tensor.String {
		d.values.Strings = append(append([]string(nil), values.Strings...), def.Strings...)
	} else {
		d.values.Bytes = append(append([]byte(nil), values.Bytes...), def.Bytes...)
	}
	if keys.DType == tensor.String {
		d.byText = map[string]int{}
		for i, k := range keys.Strings {
			d.byText[k] = i
		}
		return d, nil
	}
	bits, err := keyBits(keys)
	if err != nil {
		return nil, err
	}
	d.byBits = map[uint64]int{}
	for i, k := range bits {
		d.byBits[k] = i
	}
	return d, nil
}

// keyBits are numbers that are equal where the elements are: NaN equals itself, and zero has no sign.
func keyBits(t *kernel.Tensor) ([]uint64, error) {
	out := make([]uint64, t.Len())
	if t.DType == tensor.Int64 || t.DType == tensor.Uint64 {
		copy(out, kernel.Of[uint64](t))
		return out, nil
	}
	v, err := numbers(t)
	if err != nil {
		return nil, err
	}
	for i, x := range v {
		switch {
		case x != x:
			x = math.NaN()
		case x == 0:
			x = 0
		}
		out[i] = math.Float64bits(x)
	}
	return out, nil
}

func (d *dictionary) run(c *kernel.Call) error {
	t, err := c.Tensor(0)
	if err != nil {
		return err
	}
	if t.DType != d.keys {
		return fmt.Errorf("input is %s, the keys are %s", t, d.keys)
	}
	at := make([]int, t.Len())
	other := d.values.Len() - 1
	if d.byText != nil {
		for i, s := range t.Strings {
			at[i] = other
			if k, ok := d.byText[s]; ok {
				at[i] = k
			}
		}
	} else {
		bits, err := keyBits(t)
		if err != nil {
			return err
		}
		for i, b := range bits {
			at[i] = other
			if k, ok := d.byBits[b]; ok {
				at[i] = k
			}
		}
	}
	out, err := c.New(0, d.values.DType, t.Shape)
	if err != nil {
		return err
	}
	pickRuns(c.Pool, out, d.values, at, 1)
	return nil
}

// makeBinarizer (ai.onnx.ml) is 1 above the threshold, else 0.
func makeBinarizer(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	threshold := float64(r.Float("threshold", 0))
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		v, err := numbers(t)
		if err != nil {
			return err
		}
		for i, x := range v {
			v[i] = 0
			if x > threshold {
				v[i] = 1
			}
		}
		out, err := c.New(0, t.DType, t.Shape)
		if err != nil {
			return err
		}
		return store(out, v, math.Trunc)
	}, nil
}

// makeScaler (ai.onnx.ml) is (x − offset)·scale, with one number for all or one for each place of the last axis.
func makeScaler(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	offset, _ := r.Floats("offset")
	scale, _ := r.Floats("scale")
	if len(offset) == 0 {
		offset = []float32{0}
	}
	if len(scale) == 0 {
		scale = []float32{1}
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		last := 1
		if n := len(t.Shape); n > 0 {
			last = t.Shape[n-1]
		}
		if (len(offset) != 1 && len(offset) != last) || (len(scale) != 1 && len(scale) != last) {
			return fmt.Errorf("%d offsets and %d scales for %s", len(offset), len(scale), t)
		}
		v, err := numbers(t)
		if err != nil {
			return err
		}
		for i := range v {
			k := i % last
			v[i] = float64((float32(v[i]) - offset[k%len(offset)]) * scale[k%len(scale)])
		}
		out, err := c.New(0, tensor.Float32, t.Shape)
		if err != nil {
			return err
		}
		return store(out, v, math.Trunc)
	}, nil
}

// makeNormalizer (ai.onnx.ml) divides each row by its largest magnitude, its sum of magnitudes, or its length; a row of zeros stays.
func makeNormalizer(s *kernel.Site) (kernel.Func, error) {
	r := s.Attrs()
	norm := r.Word("norm", "MAX", "MAX", "L1", "L2")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		t, err := c.Tensor(0)
		if err != nil {
			return err
		}
		if len(t.Shape) == 0 {
			return fmt.Errorf("input is a scalar, want [C] or [N,C]")
		}
		v, err := numbers(t)
		if err != nil {
			return err
		}
		last := t.Shape[len(t.Shape)-1]
		for lo := 0; lo < len(v); lo += last {
			row := v[lo : lo+last]
			size := 0.0
			for _, x := range row {
				switch norm {
				case "MAX":
					size = max(size, math.Abs(x))
				case "L1":
					size += math.Abs(x)
				case "L2":
					size += x * x
				}
			}
			if norm == "L2" {
				size = math.Sqrt(size)
			}
			for i := range row {
				if size != 0 {
					row[i] /= size
				}
			}
		}
		out, err := c.New(0, tensor.Float32, t.Shape)
		if err != nil {
			return err
		}
		return store(out, v, math.Trunc)
	}, nil
}
