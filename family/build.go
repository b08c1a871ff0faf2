package family

import (
	"fmt"
	"math"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// The operator set that graphs are written in: the first with Gelu. irVersion is the one that came with it.
const (
	opset     = 20
	irVersion = 9
)

// builder grows a graph. Its methods take and give names of values; what does not fit is a failure that run gives back as an error.
type builder struct {
	set *settings
	w   *weights
	opt Options

	g      *graph.Graph
	module string // whose operators are being made
	nodes  map[string]int
	inits  map[string]string // names of constants, by type and content, and of weights, by the tensor's name
	spare  func(tensor string) bool

	ids string // input_ids
	seq string // its second extent, [1]
	pos string // 0, 1, … seq-1, int64 [seq]
}

func newBuilder(src *checkpoint.Source, opt Options) (*builder, error) {
	set, err := readSettings(src.Config)
	if err != nil {
		return nil, err
	}
	return &builder{set: set, w: readWeights(src), opt: opt, g: &graph.Graph{Name: "main"}, nodes: map[string]int{}, inits: map[string]string{}}, nil
}

// run builds the graph and checks that settings and tensors are used up.
func (b *builder) run(family func(*builder)) (m *graph.Model, err error) {
	defer func() {
		switch f := recover().(type) {
		case nil:
		case failure:
			m, err = nil, f.error
		default:
			panic(f)
		}
	}()
	b.set.common()
	b.ids = b.input("input_ids")
	b.seq = b.op("Shape", []string{b.ids}, graph.Int("start", 1), graph.Int("end", 2))
	b.pos = b.op("Range", []string{b.scalar(0), b.op("Squeeze", []string{b.seq}), b.scalar(1)})
	family(b)
	b.set.done()
	b.w.done(b.spare)
	m = &graph.Model{IRVersion: irVersion, ProducerName: "fp8rewrite", Graph: b.g}
	m.SetOpset("", opset)
	return m, nil
}

// input declares an input of tokens.
func (b *builder) input(name string) string {
	b.g.Inputs = append(b.g.Inputs, &graph.Value{Name: name, Type: &graph.Type{DType: tensor.Int64, HasShape: true,
		Shape: []graph.Dim{{Value: -1, Param: "batch"}, {Value: -1, Param: "seq"}}}})
	return name
}

// output makes value an output of the graph, under this name and with the extents that follow batch.
func (b *builder) output(name, value string, dims ...graph.Dim) {
	b.module = ""
	b.g.Nodes = append(b.g.Nodes, &graph.Node{Name: name, OpType: "Identity", Inputs: []string{value}, Outputs: []string{name}})
	b.g.Outputs = append(b.g.Outputs, &graph.Value{Name: name, Type: &graph.Type{DType: tensor.Float32, HasShape: true,
		Shape: append([]graph.Dim{{Value: -1, Param: "batch"}}, dims...)}})
}

// perToken are the extents of an output that has width numbers for each token.
func perToken(width int64) []graph.Dim { return []graph.Dim{{Value: -1, Param: "seq"}, {Value: width}} }

// node adds an operator, named after the module it belongs to.
func (b *builder) node(op string, inputs []string, outputs int, attrs ...*graph.Attribute) *graph.Node {
	at := op
	if b.module != "" {
		at = b.module + "/" + op
	}
	b.nodes[at]++
	if n := b.nodes[at]; n > 1 {
		at = fmt.Sprintf("%s_%d", at, n)
	}
	n := &graph.Node{Name: at, OpType: op, Inputs: inputs, Attributes: attrs}
	for i := range outputs {
		n.Outputs = append(n.Outputs, fmt.Sprintf("%s:%d", at, i))
	}
	b.g.Nodes = append(b.g.Nodes, n)
	return n
}

// op adds an operator with one output and gives its name.
func (b *builder) op(op string, inputs []string, attrs ...*graph.Attribute) string {
	return b.node(op, inputs, 1, attrs...).Outputs[0]
}

func (b *builder) add(x, y string) string { return b.op("Add", []string{x, y}) }
func (b *builder) mul(x, y string) string { return b.op("Mul", []string{x, y}) }

// constant adds an initializer, once for each content.
func (b *builder) constant(t *tensor.Tensor) string {
	content, err := t.Bytes()
	if err != nil {
		panic(failure{err})
	}
	key := fmt.Sprintf("%v%v:%x", t.DType, t.Shape, content)
	name, ok := b.inits[key]
	if !ok {
		name = fmt.Sprintf("const_%d", len(b.g.Initializers))
		b.inits[key] = name
		b.g.Initializers = append(b.g.Initializers, &graph.Initializer{Name: name, Tensor: t})
	}
	return name
}

func (b *builder) scalar(v int64) string { return b.constant(tensor.Int64s(nil, v)) }

func (b *builder) list(v ...int64) string {
	return b.constant(tensor.Int64s(tensor.Shape{int64(len(v))}, v...))
}

func (b *builder) float(v float64) string { return b.constant(tensor.Float32s(nil, float32(v))) }

func (b *builder) floats(shape tensor.Shape, v []float32) string {
	return b.constant(tensor.Float32s(shape, v...))
}

// stored is the checkpoint's tensor of this name and shape as an initializer.
func (b *builder) stored(name string, shape ...int64) string {
	t := b.w.take(name, shape...)
	if _, ok := b.inits["tensor "+name]; !ok {
		b.inits["tensor "+name] = name
		b.g.Initializers = append(b.g.Initializers, &graph.Initializer{Name: name, Tensor: t})
	}
	return name
}

// weight is a stored tensor in float32.
func (b *builder) weight(name string, shape ...int64) string {
	return b.widen(b.stored(name, shape...), b.w.tensors[name].DType)
}

func (b *builder) widen(value string, from tensor.DType) string {
	if from == tensor.Float32 {
		return value
	}
	wide := "wide " + value
	if _, ok := b.inits[wide]; !ok {
		b.inits[wide] = b.op("Cast", []string{value}, graph.Int("to", int64(tensor.Float32)))
	}
	return b.inits[wide]
}

// embed looks tokens up in a table: rows of the table, in float32. The table itself is not widened.
func (b *builder) embed(table string, ids string, rows, width int64) string {
	b.module = strings.TrimSuffix(table, ".weight")
	t := b.stored(table, rows, width)
	out := b.op("Gather", []string{t, ids})
	if dtype := b.w.tensors[table].DType; dtype != tensor.Float32 {
		out = b.op("Cast", []string{out}, graph.Int("to", int64(tensor.Float32)))
	}
	return out
}

// scopes is the key under which torch.onnx leaves the modules around an operator, outermost first and the operator last. rewrite names layers by it.
const scopes = "pkg.torch.onnx.name_scopes"

// linear is x·Wᵀ + b of module, whose weight is stored as [n, k].
func (b *builder) linear(x, module string, n, k int64, bias bool) string {
	return b.linearOf(x, module, module+".weight", n, k, bias)
}

// linearOf is linear with a weight of any name.
func (b *builder) linearOf(x, module, weight string, n, k int64, bias bool) string {
	b.module = module
	w := b.weight(weight, n, k)
	turned, ok := b.inits["turned "+weight]
	if !ok {
		turned = b.op("Transpose", []string{w}, graph.Ints("perm", 1, 0))
		b.inits["turned "+weight] = turned
	}
	return b.product(x, turned, module, n, bias)
}

// conv1D is x·W + b of module, whose weight is stored as [k, n].
func (b *builder) conv1D(x, module string, n, k int64) string {
	b.module = module
	return b.product(x, b.weight(module+".weight", k, n), module, n, true)
}

func (b *builder) product(x, w, module string, n int64, bias bool) string {
	node := b.node("MatMul", []string{x, w}, 1)
	node.Metadata = append(node.Metadata, graph.Property{Key: scopes, Value: "['', '" + module + "', 'linear']"})
	if !bias {
		return node.Outputs[0]
	}
	return b.add(node.Outputs[0], b.weight(module+".bias", n))
}

// rmsNorm is x / sqrt(mean(x²) + eps) · w over the last axis, of width numbers; offset is added to w (Gemma stores weights less 1).
func (b *builder) rmsNorm(x, module string, width int64, eps, offset float64) string {
	b.module = module
	w := b.weight(module+".weight", width)
	if offset != 0 {
		w = b.add(w, b.float(offset))
	}
	mean := b.op("ReduceMean", []string{b.op("Pow", []string{x, b.float(2)}), b.list(-1)}, graph.Int("keepdims", 1))
	root := b.op("Sqrt", []string{b.add(mean, b.float(eps))})
	return b.mul(w, b.mul(x, b.op("Reciprocal", []string{root})))
}

// layerNorm is (x - mean) / sqrt(variance + eps) · w + b over the last axis. Checkpoints from TensorFlow call w and b gamma and beta.
func (b *builder) layerNorm(x, module string, width int64, eps float64) string {
	b.module = module
	names := [2]string{module + ".weight", module + ".bias"}
	if !b.w.has(names[0]) && b.w.has(module+".gamma") {
		names = [2]string{module + ".gamma", module + ".beta"}
	}
	return b.op("LayerNormalization", []string{x, b.weight(names[0], width), b.weight(names[1], width)}, graph.Float("epsilon", float32(eps)),
		graph.Int("axis", -1))
}

// activations are the functions that are known, by transformers' names for them. Several names differ in how torch rounds, no more. GELU by tanh
// is written out where transformers writes it out, and as exporters do: a layer's amax comes from elements that float8 rounds, so that the last bit
// of one can show.
var activations = map[string]string{
	"silu": "silu", "swish": "silu", "relu": "Relu", "tanh": "Tanh", "gelu": "none", "gelu_python": "none",
	"gelu_new": "formula", "gelu_fast": "formula", "gelu_pytorch_tanh": "tanh", "gelu_python_tanh": "formula", "gelu_accurate": "formula",
}

// activation is how a setting calls a function, or def where the key is absent.
func (s *settings) activation(key, def string) string {
	name := s.word(key, def)
	if activations[name] == "" {
		s.fail(key, "silu, relu, tanh, gelu, gelu_new or gelu_pytorch_tanh")
	}
	return name
}

func (b *builder) activate(x, name string) string {
	switch how := activations[name]; how {
	case "silu":
		return b.mul(x, b.op("Sigmoid", []string{x}))
	case "none", "tanh":
		return b.op("Gelu", []string{x}, graph.Str("approximate", how))
	case "formula": // 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))
		cube := b.mul(b.op("Pow", []string{x, b.float(3)}), b.float(0.044715))
		inner := b.mul(b.add(x, cube), b.float(math.Sqrt(2/math.Pi)))
		return b.mul(b.mul(x, b.float(0.5)), b.add(b.op("Tanh", []string{inner}), b.float(1)))
	default:
		return b.op(how, []string{x})
	}
}
