package checkpoint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Layer is one linear layer of a checkpoint, or a matrix that could be taken for one. It is what a graph built from config.json would call by the
// same name, and what calibration observes.
type Layer struct {
	layout.Linear
	Op    string // Linear, Conv1D, Experts, or Tensor for what is no layer
	DType tensor.DType
	Shape tensor.Shape // as stored
	Bias  string       // name of the bias beside it; "" for none
	Role  string       // why such a layer is kept unless it is asked for; "" for a layer like others
	Group string       // layers of one group are joined by engines, and read the same input; "" for a layer alone
	Bound string       // layers of one bound are converted all or none: the group, or the experts of a block
	Tied  string       // tensor that this one repeats

	source *stored
	view   view
}

// view is the part of a stored tensor that is a layer's weight: parts matrices, each of n rows of k elements after the other where it is not
// transposed. A transposed one has k rows of which it takes columns [from, from+n) of width.
type view struct {
	offset      int64 // elements before the first
	parts, n, k int64
	transposed  bool
	width, from int64
}

// Discover finds the layers, by shard and in the order of their bytes. unstack makes a layer of each expert of a stack.
func Discover(s *Source, unstack bool) []*Layer {
	d := &discovery{s: s, family: s.family()}
	if s.Config != nil {
		d.multimodal = s.Config.Has("text_config") || s.Config.Has("vision_config") || s.Config.Has("audio_config")
	}
	for i, sh := range s.Shards {
		for _, t := range sh.File.Tensors {
			d.tensor(s.tensors[t.Name], i, unstack)
		}
	}
	d.group()
	return d.layers
}

// family is the model_type of the language model.
func (s *Source) family() string {
	if s.Config == nil {
		return ""
	}
	return s.Config.text().Text("model_type")
}

type discovery struct {
	s          *Source
	family     string
	multimodal bool
	layers     []*Layer
}

func (d *discovery) tensor(t *stored, _ int, unstack bool) {
	if len(t.Shape) < 2 {
		return // biases, norms, scales: no matrix
	}
	l := &Layer{Op: "Tensor", DType: t.DType, Shape: t.Shape, source: t}
	l.Tensor, l.Module, l.Parts = t.Name, t.Name, 1
	module, isWeight := strings.CutSuffix(t.Name, ".weight")
	switch {
	case stackedModule(t.Name) && len(t.Shape) == 3:
		d.stack(l, unstack)
		return
	case !isWeight:
		d.layers = append(d.layers, l)
		return
	case len(t.Shape) > 2:
		l.Module, l.Op, l.Role = module, "Conv", roleConvolution
		d.layers = append(d.layers, l)
		return
	}
	l.Module, l.Op, l.N, l.K = module, "Linear", t.Shape[0], t.Shape[1]
	l.Role = roleOf(module, d.multimodal)
	l.Head = l.Role == roleHead
	var bias tensor.Shape
	if b := d.s.tensors[module+".bias"]; b != nil && len(b.Shape) == 1 {
		l.Bias, bias = b.Name, b.Shape
	}
	if d.conv1D(module, t.Shape, bias) {
		l.Op, l.Conv1D, l.N, l.K = "Conv1D", true, l.K, l.N
	}
	if l.Role == roleHead && d.s.Config != nil && d.s.tied() {
		l.Tied = d.s.embedding()
	}
	l.view = view{parts: 1, n: l.Shape[0], k: l.Shape[1]} // as stored: a scale for the whole does not care which axis is which
	if experts := expertsOf(module); experts != "" {
		l.Expert, l.Bound = true, experts
	}
	l.Group = joinKey(module)
	d.heads(l)
	d.layers = append(d.layers, l)
}

// heads finds what config.json says of the parts of an attention layer, and the halves of a joined one.
func (d *discovery) heads(l *Layer) {
	name := last(l.Module)
	if slices.Contains(joinedGate, name) && l.N%2 == 0 {
		l.Splits = []int64{l.N / 2, l.N / 2}
		return
	}
	if d.s.Config == nil {
		return
	}
	c := d.s.Config.text()
	heads, kv := c.Int("num_attention_heads"), c.Int("num_key_value_heads")
	if kv == 0 {
		kv = heads
	}
	if name == "k_proj" || name == "v_proj" {
		l.Heads = kv
		return
	}
	if !slices.Contains(joinedAttention, name) || heads <= 0 || kv <= 0 {
		return
	}
	if each := l.N / (heads + 2*kv); each*(heads+2*kv) == l.N {
		l.Splits = []int64{each * heads, each * kv, each * kv}
	}
}

// conv1D recognizes a weight that is stored as [K, N]: by family, and without a config by names, and a bias that has as many elements as the
// second axis.
func (d *discovery) conv1D(module string, shape, bias tensor.Shape) bool {
	if !slices.Contains(conv1DModules, last(module)) {
		return false
	}
	if d.family != "" {
		return slices.Contains(conv1DFamilies, d.family)
	}
	if bias == nil {
		return false
	}
	if shape[0] != shape[1] {
		return bias[0] == shape[1]
	}
	// A square one is like its siblings: the fused attention is three times as wide as it is high.
	attn := d.s.tensors[parent(module)+".c_attn.weight"]
	return attn != nil && len(attn.Shape) == 2 && attn.Shape[1] == 3*attn.Shape[0]
}

// tied reports whether the output head repeats the embedding.
func (s *Source) tied() bool {
	var tied bool
	if s.Config.Get("tie_word_embeddings", &tied) {
		return tied
	}
	return s.Config.text().Get("tie_word_embeddings", &tied) && tied
}

// embedding is the name of the input embedding's tensor, as far as it is known.
func (s *Source) embedding() string {
	for _, sh := range s.Shards {
		for _, t := range sh.File.Tensors {
			module, ok := strings.CutSuffix(t.Name, ".weight")
			if n := last(module); ok && (n == "embed_tokens" || n == "wte" || n == "word_embeddings" || n == "embed_in" || n == "tok_embeddings") {
				return t.Name
			}
		}
	}
	return "the input embedding"
}

// stack takes experts that are stacked in one tensor.
func (d *discovery) stack(l *Layer, unstack bool) {
	t := l.source
	e, rows, columns := t.Shape[0], t.Shape[1], t.Shape[2]
	l.Op, l.Stacked, l.Expert, l.Parts, l.N, l.K = "Experts", true, true, e, rows, columns
	transposed := slices.Contains(transposedFamilies, d.family)
	if transposed {
		l.N, l.K, l.Conv1D = columns, rows, true
	}
	l.Bound = parent(t.Name)
	l.Role = roleOf(t.Name, d.multimodal)
	l.view = view{parts: e, n: rows, k: columns}
	halves := []string{last(t.Name)}
	if halves[0] == "gate_up_proj" {
		halves = []string{"gate_proj", "up_proj"}
	}
	interleaved := d.family == "gpt_oss"
	if !unstack || interleaved || l.N%int64(len(halves)) != 0 || rows == 0 || columns == 0 {
		if interleaved {
			l.Op = "Tensor"
		}
		d.layers = append(d.layers, l)
		return
	}
	n := l.N / int64(len(halves))
	for i := range e {
		for h, half := range halves {
			one := *l
			one.Module = fmt.Sprintf("%s.%d.%s", parent(t.Name), i, half)
			one.Op, one.Stacked, one.Conv1D, one.Turned, one.Parts, one.N = "Experts", false, false, transposed, 1, n
			one.Group = joinKey(one.Module)
			from := int64(h) * n
			one.view = view{offset: i*rows*columns + from*columns, parts: 1, n: n, k: l.K}
			if transposed {
				one.view = view{offset: i * rows * columns, parts: 1, n: n, k: l.K, transposed: true, width: columns, from: from}
			}
			d.layers = append(d.layers, &one)
		}
	}
}

// group drops the groups that have one member, or members that do not read the same input, and binds the others.
func (d *discovery) group() {
	members := map[string][]*Layer{}
	for _, l := range d.layers {
		if l.Group != "" {
			members[l.Group] = append(members[l.Group], l)
		}
	}
	for _, list := range members {
		same := len(list) > 1
		for _, l := range list {
			same = same && l.K == list[0].K && l.Role == list[0].Role
		}
		for _, l := range list {
			switch {
			case !same:
				l.Group = ""
			case l.Bound == "":
				l.Bound, l.Fused = l.Group, true
			default:
				l.Fused = true
			}
		}
	}
}

// name is the name of the layer's weight in the output: that of the tensor, but for an expert that was taken from a stack.
func (l *Layer) name() string {
	if l.Op == "Experts" && !l.Stacked {
		return l.Module + ".weight"
	}
	return l.Tensor
}
