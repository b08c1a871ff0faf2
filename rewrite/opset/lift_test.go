package opset

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// value declares a float32 value; extents below 0 are unknown.
func value(name string, extents ...int64) *graph.Value {
	t := &graph.Type{DType: tensor.Float32, HasShape: true}
	for _, e := range extents {
		t.Shape = append(t.Shape, graph.Dim{Value: e})
	}
	return &graph.Value{Name: name, Type: t}
}

// unranked declares a value of unknown shape.
func unranked(name string, d tensor.DType) *graph.Value {
	return &graph.Value{Name: name, Type: &graph.Type{DType: d}}
}

func node(op string, in, out string, attrs ...*graph.Attribute) *graph.Node {
	split := func(s string) []string {
		if s == "" {
			return nil
		}
		parts := strings.Split(s, ",")
		for i, p := range parts {
			parts[i] = strings.Trim(p, "_") // "_" stands for an input that is left out
		}
		return parts
	}
	return &graph.Node{Name: strings.ToLower(op), OpType: op, Inputs: split(in), Outputs: split(out), Attributes: attrs}
}

// model holds nodes, the float32 input x [2,3,4] unless other inputs are given, and the last node's first output as output.
func model(version int64, nodes []*graph.Node, inputs ...*graph.Value) *graph.Model {
	if len(inputs) == 0 {
		inputs = []*graph.Value{value("x", 2, 3, 4)}
	}
	return &graph.Model{IRVersion: 8, Opsets: []graph.Opset{{Version: version}}, Graph: &graph.Graph{
		Name: "g", Nodes: nodes, Inputs: inputs,
		Outputs: []*graph.Value{unranked(nodes[len(nodes)-1].Outputs[0], tensor.Undefined)},
	}}
}

// text renders nodes one per line, with the values of Constant nodes in the place of their names.
func text(nodes []*graph.Node) string {
	var lines []string
	consts := map[string]string{}
	for _, n := range nodes {
		if n.Is("Constant") && n.Attributes[0].Ref == "" {
			consts[n.Outputs[0]] = tensorText(n.Attributes[0].Tensor)
			continue
		}
		var in, attrs []string
		for _, i := range n.Inputs {
			if c, ok := consts[i]; ok {
				i = c
			}
			in = append(in, i)
		}
		for _, a := range n.Attributes {
			attrs = append(attrs, a.Name+"="+attrText(a))
		}
		line := strings.Join(n.Outputs, ", ") + " = " + n.OpType + "(" + strings.Join(in, ", ")
		if len(attrs) > 0 {
			line += "; " + strings.Join(attrs, " ")
		}
		lines = append(lines, line+")")
		for _, g := range n.Subgraphs() {
			lines = append(lines, "  "+strings.ReplaceAll(text(g.Nodes), "\n", "\n  "))
		}
	}
	return strings.Join(lines, "\n")
}

func attrText(a *graph.Attribute) string {
	switch {
	case a.Ref != "":
		return "@" + a.Ref
	case a.Kind == graph.AttrInt:
		return fmt.Sprint(a.Int)
	case a.Kind == graph.AttrInts:
		return fmt.Sprint(a.Ints)
	case a.Kind == graph.AttrFloat:
		return fmt.Sprint(a.Float)
	case a.Kind == graph.AttrFloats:
		return fmt.Sprint(a.Floats)
	case a.Kind == graph.AttrString:
		return string(a.String)
	}
	return "…"
}

func tensorText(t *tensor.Tensor) string {
	var v any
	switch t.DType {
	case tensor.Float32:
		v, _ = t.AsFloat32s()
	case tensor.Int64:
		v, _ = t.AsInt64s()
	default:
		v, _ = t.Bytes()
	}
	s := fmt.Sprint(v)
	if len(t.Shape) == 0 {
		s = strings.Trim(s, "[]")
	}
	if t.DType != tensor.Float32 && t.DType != tensor.Int64 {
		s = t.DType.String() + s
	}
	return s
}

func TestConversions(t *testing.T) {
	maxF := float32(3.4028234663852886e+38)
	x45 := value("x", 1, 2, 7, 7)
	cases := []struct {
		name     string
		from, to int64
		node     *graph.Node
		inputs   []*graph.Value
		want     string
	}{
		{"batch normalization loses spatial", 7, 19, node("BatchNormalization", "x,s,b,m,v", "y", graph.Int("spatial", 1), graph.Float("epsilon", 0.5)), nil,
			"y = BatchNormalization(x, s, b, m, v; epsilon=0.5)"},
		{"batch normalization per element becomes one of rows", 8, 19, node("BatchNormalization", "x,s,b,m,v", "y", graph.Int("spatial", 0)), nil, `
batchnormalization_shape = Shape(x)
batchnormalization_flat = Flatten(x; axis=1)
batchnormalization_scale = Reshape(s, [-1])
batchnormalization_bias = Reshape(b, [-1])
batchnormalization_mean = Reshape(m, [-1])
batchnormalization_var = Reshape(v, [-1])
batchnormalization_reshape_in = BatchNormalization(batchnormalization_flat, batchnormalization_scale, batchnormalization_bias, batchnormalization_mean, batchnormalization_var)
y = Reshape(batchnormalization_reshape_in, batchnormalization_shape)`},
		{"batch normalization loses outputs that are left out", 9, 19, node("BatchNormalization", "x,s,b,m,v", "y,_,_"), nil,
			"y = BatchNormalization(x, s, b, m, v)"},
		{"group normalization repeats its scales", 18, 21, node("GroupNormalization", "x,s,b", "y", graph.Int("num_groups", 3)), nil, `
groupnormalization_channels = Shape(x; start=1 end=2)
groupnormalization_per_group = Div(groupnormalization_channels, [3])
groupnormalization_repeat = Concat([1], groupnormalization_per_group; axis=0)
groupnormalization_scale = Unsqueeze(s, [-1])
groupnormalization_scale_2 = Expand(groupnormalization_scale, groupnormalization_repeat)
groupnormalization_scale_3 = Reshape(groupnormalization_scale_2, [-1])
groupnormalization_bias = Unsqueeze(b, [-1])
groupnormalization_bias_2 = Expand(groupnormalization_bias, groupnormalization_repeat)
groupnormalization_bias_3 = Reshape(groupnormalization_bias_2, [-1])
y = GroupNormalization(x, groupnormalization_scale_3, groupnormalization_bias_3; num_groups=3)`},
		{"dropout's ratio becomes an input, an unread mask goes", 7, 19, node("Dropout", "x", "y,mask", graph.Float("ratio", 0.25)), nil, "y = Dropout(x, 0.25)"},
		{"dropout at 12 stays", 12, 19, node("Dropout", "x,r", "y,mask"), nil, "y, mask = Dropout(x, r)"},
		{"upsample becomes resize", 7, 19, node("Upsample", "x", "y", graph.Floats("scales", 1, 2), graph.Str("mode", "nearest")), nil,
			"y = Resize(x, , [1 2]; mode=nearest nearest_mode=floor coordinate_transformation_mode=asymmetric)"},
		{"upsample to 10", 9, 10, node("Upsample", "x,s", "y"), nil, "y = Resize(x, s)"},
		{"upsample to 11 names a roi", 9, 11, node("Upsample", "x,s", "y", graph.Str("mode", "linear")), nil,
			"y = Resize(x, [], s; mode=linear coordinate_transformation_mode=asymmetric)"},
		{"resize that shrinks rounds up", 10, 19, node("Resize", "x,half", "y"), nil,
			"y = Resize(x, , half; nearest_mode=ceil coordinate_transformation_mode=asymmetric)"},
		{"resize that grows rounds down", 10, 19, node("Resize", "x,twice", "y"), nil,
			"y = Resize(x, , twice; nearest_mode=floor coordinate_transformation_mode=asymmetric)"},
		{"resize with sizes loses its empty scales", 11, 19, node("Resize", "x,none,none,sizes", "y"), nil, "y = Resize(x, none, , sizes)"},
		{"resize with scales loses its empty sizes", 11, 19, node("Resize", "x,none,twice,nosizes", "y"), nil, "y = Resize(x, none, twice)"},
		{"tf_half_pixel_for_nn with floor has another spelling", 11, 19, node("Resize", "x,none,twice", "y",
			graph.Str("coordinate_transformation_mode", "tf_half_pixel_for_nn"), graph.Str("nearest_mode", "floor")), nil,
			"y = Resize(x, none, twice; coordinate_transformation_mode=half_pixel nearest_mode=round_prefer_ceil)"},
		{"squeeze", 11, 19, node("Squeeze", "x", "y", graph.Ints("axes", 0, -1)), nil, "y = Squeeze(x, [0 -1])"},
		{"squeeze of all", 11, 19, node("Squeeze", "x", "y"), nil, "y = Squeeze(x)"},
		{"unsqueeze", 7, 13, node("Unsqueeze", "x", "y", graph.Ints("axes", 1)), nil, "y = Unsqueeze(x, [1])"},
		{"reduce sum at 13", 12, 13, node("ReduceSum", "x", "y", graph.Ints("axes", 1), graph.Int("keepdims", 0)), nil, "y = ReduceSum(x, [1]; keepdims=0)"},
		{"reduce mean stays till 17", 11, 17, node("ReduceMean", "x", "y", graph.Ints("axes", 1)), nil, "y = ReduceMean(x; axes=[1])"},
		{"reduce mean", 11, 18, node("ReduceMean", "x", "y", graph.Ints("axes", 1)), nil, "y = ReduceMean(x, [1])"},
		{"reduce over no axes named is over all", 17, 18, node("ReduceMax", "x", "y", graph.Ints("axes")), nil, "y = ReduceMax(x)"},
		{"split with sizes", 11, 19, node("Split", "x", "y,z", graph.Ints("split", 1, 2), graph.Int("axis", 1)), nil, "y, z = Split(x, [1 2]; axis=1)"},
		{"split in equal parts", 11, 19, node("Split", "x", "y,z"), nil, "y, z = Split(x; num_outputs=2)"},
		{"slice names its axes", 9, 10, node("Slice", "x", "y", graph.Ints("starts", 0, 1), graph.Ints("ends", 1, 2)), nil, "y = Slice(x, [0 1], [1 2], [0 1])"},
		{"slice keeps its axes", 7, 19, node("Slice", "x", "y", graph.Ints("starts", 1), graph.Ints("ends", 9), graph.Ints("axes", 2)), nil, "y = Slice(x, [1], [9], [2])"},
		{"top k", 9, 19, node("TopK", "x", "y,i", graph.Int("k", 5), graph.Int("axis", 1)), nil, "y, i = TopK(x, [5]; axis=1)"},
		{"pad", 10, 19, node("Pad", "x", "y", graph.Ints("pads", 0, 1), graph.Float("value", 2)), nil, "y = Pad(x, [0 1], 2)"},
		{"pad with zero", 10, 19, node("Pad", "x", "y", graph.Ints("pads", 0, 1), graph.Float("value", 0)), nil, "y = Pad(x, [0 1])"},
		{"pad by reflection heeds no value", 10, 19, node("Pad", "x", "y", graph.Ints("pads", 0, 1), graph.Str("mode", "reflect"), graph.Float("value", 2)), nil,
			"y = Pad(x, [0 1]; mode=reflect)"},
		{"pad of float16 casts its value", 10, 19, node("Pad", "x", "y", graph.Ints("pads", 0, 1), graph.Float("value", 2)),
			[]*graph.Value{unranked("x", tensor.Float16)}, "pad_value_2 = Cast(2; to=10)\ny = Pad(x, [0 1], pad_value_2)"},
		{"pad of an unknown type asks the graph", 10, 25, node("Pad", "x", "y", graph.Ints("pads", 0, 1), graph.Float("value", 2)),
			[]*graph.Value{unranked("x", tensor.Undefined)}, "pad_value_2 = CastLike(2, x)\ny = Pad(x, [0 1], pad_value_2)"},
		{"clip", 7, 19, node("Clip", "x", "y", graph.Float("min", 0), graph.Float("max", 6)), nil, "y = Clip(x, 0, 6)"},
		{"clip above only", 7, 19, node("Clip", "x", "y", graph.Float("max", 6), graph.Float("min", -maxF)), nil, "y = Clip(x, , 6)"},
		{"clip of nothing", 7, 19, node("Clip", "x", "y"), nil, "y = Clip(x)"},
		{"softmax along the last axis", 11, 13, node("Softmax", "x", "y", graph.Int("axis", 2)), nil, "y = Softmax(x; axis=-1)"},
		{"softmax with axes of extent 1 behind", 7, 19, node("Softmax", "x", "y"), []*graph.Value{value("x", 2, 3, 1, 1)}, "y = Softmax(x; axis=1)"},
		{"softmax over two axes", 7, 19, node("Softmax", "x", "y"), nil, `
softmax_shape = Shape(x)
softmax_flat = Flatten(x; axis=1)
softmax_reshape_in = Softmax(softmax_flat; axis=-1)
y = Reshape(softmax_reshape_in, softmax_shape; allowzero=1)`},
		{"softmax of unknown rank", 7, 13, node("LogSoftmax", "x", "y", graph.Int("axis", 3)), []*graph.Value{unranked("x", tensor.Float32)}, `
logsoftmax_shape = Shape(x)
logsoftmax_flat = Flatten(x; axis=3)
logsoftmax_reshape_in = LogSoftmax(logsoftmax_flat; axis=-1)
y = Reshape(logsoftmax_reshape_in, logsoftmax_shape)`},
		{"scatter", 9, 19, node("Scatter", "x,i,u", "y", graph.Int("axis", 1)), nil, "y = ScatterElements(x, i, u; axis=1)"},
		{"roi align keeps its coordinates", 10, 19, node("RoiAlign", "x,r,i", "y"), nil, "y = RoiAlign(x, r, i; coordinate_transformation_mode=output_half_pixel)"},
		{"grid sample", 16, 20, node("GridSample", "x,g", "y", graph.Str("mode", "bicubic")), nil, "y = GridSample(x, g; mode=cubic)"},
		{"grid sample by default", 16, 20, node("GridSample", "x,g", "y"), nil, "y = GridSample(x, g)"},
		{"dft names its axis", 17, 20, node("DFT", "x", "y"), nil, "y = DFT(x, , 1)"},
		{"scan of a batch of one", 8, 19, node("Scan", "_,x", "y", graph.Int("num_scan_inputs", 1), graph.Ints("directions", 1)), []*graph.Value{value("x", 1, 5, 3)}, `
scan_element = Squeeze(x, [0])
scan_batch_in = Scan(scan_element; num_scan_inputs=1 scan_input_directions=[1])
y = Unsqueeze(scan_batch_in, [0])`},
		{"average pool whose windows fit", 10, 22, node("AveragePool", "x", "y", graph.Int("ceil_mode", 1), graph.Int("count_include_pad", 1), graph.Ints("kernel_shape", 3, 3), graph.Ints("strides", 2, 2)),
			[]*graph.Value{x45}, "y = AveragePool(x; ceil_mode=1 count_include_pad=1 kernel_shape=[3 3] strides=[2 2])"},
		{"max pool with no window in the padding", 10, 22, node("MaxPool", "x", "y", graph.Int("ceil_mode", 1), graph.Ints("kernel_shape", 3), graph.Ints("strides", 2), graph.Ints("pads", 1, 1)),
			nil, "y = MaxPool(x; ceil_mode=1 kernel_shape=[3] strides=[2] pads=[1 1])"},
		{"transposed convolution of even padding", 10, 19, node("ConvTranspose", "x,w", "y", graph.Ints("output_shape", 13, 13), graph.Ints("kernel_shape", 3, 3), graph.Ints("strides", 2, 2)),
			[]*graph.Value{x45}, "y = ConvTranspose(x, w; output_shape=[13 13] kernel_shape=[3 3] strides=[2 2])"},
		{"cast to float8 that changed in no way", 19, 25, node("Cast", "x", "y", graph.Int("to", int64(tensor.Float8E4M3FN))), nil, "y = Cast(x; to=17)"},
		{"cast without saturation", 19, 25, node("Cast", "x", "y", graph.Int("to", int64(tensor.Float8E4M3FZ)), graph.Int("saturate", 0)), nil, "y = Cast(x; to=18 saturate=0)"},
		{"an operator of version 6 that did not change", 6, 19, node("MatMul", "x,b", "y"), nil, "y = MatMul(x, b)"},
		{"broadcasting at the end", 6, 19, node("Add", "x,half", "y", graph.Int("broadcast", 1)), nil, "y = Add(x, half)"},
		{"broadcasting from an axis", 1, 7, node("Mul", "x,half", "y", graph.Int("broadcast", 1), graph.Int("axis", 0)), nil,
			"mul_aligned = Unsqueeze(half; axes=[1 2])\ny = Mul(x, mul_aligned)"},
		{"broadcasting from the axis at the end", 6, 7, node("Mul", "x,half", "y", graph.Int("broadcast", 1), graph.Int("axis", 2)), nil, "y = Mul(x, half)"},
		{"gemm always broadcasts", 6, 19, node("Gemm", "x,w,b", "y", graph.Int("broadcast", 1), graph.Int("transB", 1)), nil, "y = Gemm(x, w, b; transB=1)"},
		{"dropout of inference", 6, 7, node("Dropout", "x", "y", graph.Int("is_test", 1), graph.Float("ratio", 0.5)), nil, "y = Dropout(x; ratio=0.5)"},
		{"concat names its axis", 1, 4, node("Concat", "x,x", "y"), nil, "y = Concat(x, x; axis=1)"},
		{"reshape", 1, 5, node("Reshape", "x", "y", graph.Ints("shape", 0, -1)), nil, "y = Reshape(x, [0 -1])"},
		{"consumed_inputs is dropped", 7, 19, node("Relu", "x", "y", graph.Ints("consumed_inputs", 0)), nil, "y = Relu(x)"},
		{"an operator without changes stays", 7, 25, node("LSTM", "x,w,r", "y", graph.Int("hidden_size", 3)), nil, "y = LSTM(x, w, r; hidden_size=3)"},
		{"a layer normalization before its time is ONNX Runtime's", 11, 19, node("LayerNormalization", "x,s,b", "y"), nil, "y = LayerNormalization(x, s, b)"},
		{"another domain stays", 7, 19, &graph.Node{OpType: "Squeeze", Domain: "com.example", Inputs: []string{"x"}, Outputs: []string{"y"}, Attributes: []*graph.Attribute{graph.Ints("axes", 1)}}, nil,
			"y = Squeeze(x; axes=[1])"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := model(c.from, []*graph.Node{c.node}, c.inputs...)
			m.Graph.Initializers = []*graph.Initializer{
				{Name: "half", Tensor: tensor.Float32s(tensor.Shape{3}, 1, 1, 0.5)}, {Name: "twice", Tensor: tensor.Float32s(tensor.Shape{3}, 1, 1, 2)},
				{Name: "none", Tensor: tensor.Float32s(tensor.Shape{0})}, {Name: "nosizes", Tensor: tensor.Int64s(tensor.Shape{0})},
				{Name: "sizes", Tensor: tensor.Int64s(tensor.Shape{3}, 2, 3, 5)}}
			res, err := Lift(m, c.to)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := text(m.Graph.Nodes), strings.TrimSpace(c.want); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if m.OpsetVersion("") != c.to || res.From != c.from || res.To != c.to {
				t.Errorf("version %d, result %d → %d, want %d → %d", m.OpsetVersion(""), res.From, res.To, c.from, c.to)
			}
			before := text(m.Graph.Nodes)
			if res, err := Lift(m, c.to); err != nil || len(res.Changes) != 0 || text(m.Graph.Nodes) != before {
				t.Errorf("a second lift: %v, changes %v, nodes\n%s", err, res, text(m.Graph.Nodes))
			}
		})
	}
}

func TestBlocked(t *testing.T) {
	fnuz := graph.Int("to", int64(tensor.Float8E5M2FZ))
	cases := []struct {
		name     string
		from, to int64
		node     *graph.Node
		inputs   []*graph.Value
		reason   string
	}{
		{"an operator nobody knows", 9, 19, node("Affine", "x", "y"), nil, "unknown operator"},
		{"an operator before its time", 9, 19, node("Trilu", "x", "y"), nil, "came with version 14"},
		{"an operator after its time", 11, 19, node("Upsample", "x,s", "y"), nil, "went with version 10"},
		{"batch normalization for training", 9, 19, node("BatchNormalization", "x,s,b,m,v", "y,mean,var"), nil, `output "mean"`},
		{"a mask that is read", 7, 19, node("Dropout", "x", "mask,mask"), nil, "the mask"},
		{"clip with bounds crossed", 7, 19, node("Clip", "x", "y", graph.Float("min", 1), graph.Float("max", 0)), nil, "above max"},
		{"clip of an unknown type without CastLike", 7, 14, node("Clip", "x", "y", graph.Float("min", 1)), []*graph.Value{unranked("x", tensor.Undefined)}, "element type"},
		{"resize that grows and shrinks", 10, 19, node("Resize", "x,both", "y"), nil, "grows one axis and shrinks another"},
		{"resize with scales from outside", 10, 19, node("Resize", "x,outside", "y"), nil, "not constant"},
		{"resize tf_half_pixel_for_nn", 11, 19, node("Resize", "x,r,both", "y", graph.Str("mode", "linear"), graph.Str("coordinate_transformation_mode", "tf_half_pixel_for_nn")), nil,
			"tf_half_pixel_for_nn is gone"},
		{"erf of integers", 9, 19, node("Erf", "x", "y"), []*graph.Value{unranked("x", tensor.Int32)}, "element type int32 is gone"},
		{"scan of a batch", 8, 19, node("Scan", "_,x", "y", graph.Int("num_scan_inputs", 1)), nil, "the batch is not known to be 1"},
		{"scan with lengths", 8, 19, node("Scan", "lens,x", "y", graph.Int("num_scan_inputs", 1)), nil, "sequence_lens is gone"},
		{"average pool whose last window hangs over", 10, 19, node("AveragePool", "x", "y", graph.Int("ceil_mode", 1), graph.Int("count_include_pad", 1), graph.Ints("kernel_shape", 3), graph.Ints("strides", 2)), nil,
			"what it divides by changed"},
		{"max pool with a window in the padding", 12, 22, node("MaxPool", "x", "y", graph.Int("ceil_mode", 1), graph.Ints("kernel_shape", 2), graph.Ints("strides", 4), graph.Ints("pads", 0, 1)), nil,
			"start inside the end padding"},
		{"transposed convolution of odd padding", 10, 11, node("ConvTranspose", "x,w", "y", graph.Ints("output_shape", 8), graph.Ints("kernel_shape", 3), graph.Ints("strides", 2)), nil,
			"total padding of spatial axis 0 is odd"},
		{"group normalization of float16", 18, 21, node("GroupNormalization", "x,s,b", "y", graph.Int("num_groups", 3)), []*graph.Value{unranked("x", tensor.Float16)}, "only float32"},
		{"cast of infinity to fnuz", 19, 24, node("Cast", "x", "y", fnuz), nil, "gave NaN"},
		{"cast like a value of unknown type", 19, 24, node("CastLike", "x,z", "y"), nil, "not known"},
		{"quantize to fnuz", 21, 24, node("QuantizeLinear", "x,s", "y", graph.Int("output_dtype", int64(tensor.Float8E4M3FZ))), nil, "gave NaN"},
		{"an attribute of another type", 11, 13, node("Squeeze", "x", "y", graph.Int("axes", 1)), nil, `attribute "axes" has type 2, want 7`},
		{"a node without inputs", 11, 13, node("Squeeze", "", "y"), nil, "no inputs"},
		{"a change too old", 1, 19, node("Cast", "x", "y", graph.Str("to", "FLOAT")), nil, "version 6 changed it"},
		{"dropout for training", 6, 19, node("Dropout", "x", "y"), nil, "training"},
		{"broadcasting from an axis of unknown ranks", 6, 19, node("Add", "x,b", "y", graph.Int("broadcast", 1), graph.Int("axis", 1)), []*graph.Value{unranked("x", tensor.Float32)}, "needs the ranks"},
		{"a version that is none", -1, 19, node("Relu", "x", "y"), nil, "imports version -1"},
		{"no version at all", 0, 19, node("Relu", "x", "y"), nil, "imports no version"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := model(c.from, []*graph.Node{node("Squeeze", "x", "q"), c.node}, c.inputs...)
			m.Graph.Nodes[0].Domain = "com.example"
			if c.from == 0 {
				m.Opsets = nil
			}
			m.Graph.Initializers = []*graph.Initializer{{Name: "both", Tensor: tensor.Float32s(tensor.Shape{3}, 1, 2, 0.5)}}
			g, before, opsets := m.Graph, text(m.Graph.Nodes), fmt.Sprint(m.Opsets)
			_, err := Lift(m, c.to)
			var b *Blocked
			if !errors.As(err, &b) {
				t.Fatalf("got %v, want a *Blocked", err)
			}
			if !strings.Contains(err.Error(), c.reason) {
				t.Errorf("got %q, want %q in it", err, c.reason)
			}
			if c.from > 0 && (b.OpType != c.node.OpType || b.Node != c.node.Name) {
				t.Errorf("blocked by %q (%s), want %q (%s)", b.Node, b.OpType, c.node.Name, c.node.OpType)
			}
			if m.Graph != g || text(g.Nodes) != before || fmt.Sprint(m.Opsets) != opsets {
				t.Errorf("the model changed:\n%s\n%v", text(m.Graph.Nodes), m.Opsets)
			}
		})
	}
}

func TestEveryReasonIsListed(t *testing.T) {
	m := model(9, []*graph.Node{node("Affine", "x", "a"), node("Unsqueeze", "a", "b", graph.Ints("axes", 0)), node("Crop", "b", "c"),
		node("Erf", "i", "y")}, value("x", 2), unranked("i", tensor.Int8))
	_, err := Lift(m, 19)
	var all Blockers
	if !errors.As(err, &all) || len(all) != 3 {
		t.Fatalf("got %v, want three reasons", err)
	}
	if text(m.Graph.Nodes[1:2]) != "b = Unsqueeze(a; axes=[0])" {
		t.Errorf("the node between changed: %s", text(m.Graph.Nodes[1:2]))
	}
}

func TestConstantsAreSharedAndStandBeforeTheirUsers(t *testing.T) {
	m := model(11, []*graph.Node{node("ReduceMean", "x", "a", graph.Ints("axes", 1)), node("Unsqueeze", "a", "b", graph.Ints("axes", 1)),
		node("Squeeze", "b", "c", graph.Ints("axes", 1)), node("ReduceMax", "c", "y", graph.Ints("axes", 1))})
	if _, err := Lift(m, 19); err != nil {
		t.Fatal(err)
	}
	seen, constants := map[string]bool{"x": true}, 0
	for _, n := range m.Graph.Nodes {
		if n.Is("Constant") {
			constants++
		}
		for _, in := range n.Inputs {
			if !seen[in] {
				t.Errorf("%s reads %q before it is made", n.OpType, in)
			}
		}
		for _, out := range n.Outputs {
			seen[out] = true
		}
	}
	if constants != 2 { // one of version 13, one of 18
		t.Errorf("%d constants, want 2", constants)
	}
}

func TestNamesInUseAreNotTaken(t *testing.T) {
	m := model(11, []*graph.Node{node("Squeeze", "squeeze_axes", "y", graph.Ints("axes", 1))}, value("squeeze_axes", 2, 1))
	if _, err := Lift(m, 13); err != nil {
		t.Fatal(err)
	}
	if got := m.Graph.Nodes[1].Inputs; got[0] != "squeeze_axes" || got[1] == "squeeze_axes" {
		t.Errorf("inputs %q", got)
	}
}

func TestGraphsInsideNodesAreLifted(t *testing.T) {
	branch := func(op string) *graph.Graph {
		return &graph.Graph{Nodes: []*graph.Node{node(op, "x", "t", graph.Ints("axes", 1))}, Outputs: []*graph.Value{{Name: "t"}}}
	}
	n := node("If", "c", "y")
	n.Attributes = []*graph.Attribute{{Name: "then_branch", Kind: graph.AttrGraph, Graph: branch("ReduceSum")}, {Name: "else_branch", Kind: graph.AttrGraph, Graph: branch("ReduceMin")}}
	m := model(11, []*graph.Node{n}, value("x", 2, 3), unranked("c", tensor.Bool))
	if _, err := Lift(m, 19); err != nil {
		t.Fatal(err)
	}
	want := "y = If(c; then_branch=… else_branch=…)\n  t = ReduceSum(x, [1])\n  t = ReduceMin(x, [1])"
	if got := text(m.Graph.Nodes); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if text(branch("ReduceSum").Nodes) != "t = ReduceSum(x; axes=[1])" {
		t.Error("the original changed")
	}
}

func TestAMaskReadInsideABranchBlocks(t *testing.T) {
	n := node("If", "c", "y")
	n.Attributes = []*graph.Attribute{{Name: "then_branch", Kind: graph.AttrGraph,
		Graph: &graph.Graph{Nodes: []*graph.Node{node("Identity", "mask", "t")}, Outputs: []*graph.Value{{Name: "t"}}}}}
	m := model(7, []*graph.Node{node("Dropout", "x", "d,mask"), n}, value("x", 2), unranked("c", tensor.Bool))
	if _, err := Lift(m, 19); err == nil || !strings.Contains(err.Error(), "the mask") {
		t.Errorf("got %v, want the mask as a reason", err)
	}
}

func withFunction(attrs ...*graph.Attribute) *graph.Model {
	call := &graph.Node{Name: "call", OpType: "F", Domain: "local", Inputs: []string{"x"}, Outputs: []string{"y"}, Attributes: attrs}
	m := model(11, []*graph.Node{call})
	reduce := node("ReduceMax", "a", "b", graph.Ref("axes", "over", graph.AttrInts))
	m.Functions = []*graph.Function{{Name: "F", Domain: "local", Inputs: []string{"a"}, Outputs: []string{"c"}, Attributes: []string{"over"},
		Nodes: []*graph.Node{reduce, node("Softmax", "b", "c", graph.Int("axis", 1))}, Opsets: []graph.Opset{{Version: 9}, {Domain: "local", Version: 1}}}}
	return m
}

func TestFunctionsAreLifted(t *testing.T) {
	m := withFunction(graph.Ints("over", 1))
	f := m.Functions[0]
	res, err := Lift(m, 19)
	if err != nil {
		t.Fatal(err)
	}
	want := `
reducemax_axes = Constant(; value_ints=@over)
b = ReduceMax(a, reducemax_axes)
softmax_shape = Shape(b)
softmax_flat = Flatten(b; axis=1)
softmax_reshape_in = Softmax(softmax_flat; axis=-1)
c = Reshape(softmax_reshape_in, softmax_shape; allowzero=1)`
	if got := text(m.Functions[0].Nodes); got != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if m.Functions[0].OpsetVersion("") != 19 || m.OpsetVersion("") != 19 || m.Functions[0].OpsetVersion("local") != 1 {
		t.Errorf("imports %v and %v", m.Functions[0].Opsets, m.Opsets)
	}
	if f.OpsetVersion("") != 9 || len(f.Nodes) != 2 {
		t.Error("the original function changed")
	}
	if len(res.Changes) != 2 || res.Changes[0].Where != "F" {
		t.Errorf("changes %+v", res.Changes)
	}
}

func TestAnAttributeThatACallMayLeaveOutBlocks(t *testing.T) {
	if _, err := Lift(withFunction(), 19); err == nil || !strings.Contains(err.Error(), `function "F": node "reducemax" (ReduceMax): attribute "axes" is bound`) {
		t.Errorf("got %v", err)
	}
	m := withFunction()
	m.Functions[0].Attributes, m.Functions[0].Defaults = nil, []*graph.Attribute{graph.Ints("over", 0)}
	if _, err := Lift(m, 19); err != nil {
		t.Errorf("with a default: %v", err)
	}
}

func TestAFunctionBelowTheModelIsLiftedAlone(t *testing.T) {
	m := withFunction(graph.Ints("over", 1))
	m.SetOpset("", 21)
	if _, err := Lift(m, 19); err != nil {
		t.Fatal(err)
	}
	if m.OpsetVersion("") != 21 || m.Functions[0].OpsetVersion("") != 19 {
		t.Errorf("imports %v and %v", m.Opsets, m.Functions[0].Opsets)
	}
}

func TestAFunctionThatBearsAnOperatorsNameIsNotThatOperator(t *testing.T) {
	m := withFunction(graph.Ints("over", 1))
	m.Functions[0].Name, m.Functions[0].Domain = "Squeeze", ""
	m.Graph.Nodes[0].OpType, m.Graph.Nodes[0].Domain = "Squeeze", "ai.onnx"
	m.Graph.Nodes[0].SetAttr(graph.Ints("axes", 1))
	if _, err := Lift(m, 19); err != nil {
		t.Fatal(err)
	}
	if got := text(m.Graph.Nodes); got != "y = Squeeze(x; over=[1] axes=[1])" {
		t.Error(got)
	}
}

func TestAModelOfOtherDomainsOnlyGetsTheVersion(t *testing.T) {
	m := model(0, []*graph.Node{{OpType: "Z", Domain: "com.example", Inputs: []string{"x"}, Outputs: []string{"y"}}})
	m.Opsets = []graph.Opset{{Domain: "com.example", Version: 1}}
	if _, err := Lift(m, 19); err != nil || m.OpsetVersion("") != 19 || m.OpsetVersion("com.example") != 1 {
		t.Errorf("%v, %v", err, m.Opsets)
	}
}

func TestNoVersionBeyondTheTable(t *testing.T) {
	if _, err := Lift(model(11, []*graph.Node{node("Relu", "x", "y")}), newest+1); err == nil || !strings.Contains(err.Error(), "newest known") {
		t.Errorf("got %v", err)
	}
}

func TestLiftNodes(t *testing.T) {
	nodes := []*graph.Node{node("Dropout", "x", "d,mask", graph.Float("ratio", 0.5)), node("Clip", "d", "y", graph.Float("min", 0))}
	names := graph.NewNames(model(19, []*graph.Node{node("Relu", "x", "clip_min")}))
	body := Body{Nodes: nodes, Live: []string{"y"}, Names: names,
		Types: func(string) (graph.Type, bool) { return graph.Type{DType: tensor.Float32}, true }}
	got, err := LiftNodes(body, 10, 19)
	if err != nil {
		t.Fatal(err)
	}
	if want := "d = Dropout(x, 0.5)\ny = Clip(d, 0)"; text(got) != want {
		t.Errorf("got\n%s\nwant\n%s", text(got), want)
	}
	for _, n := range got {
		if n.Output(0) == "clip_min" {
			t.Error("a name in use was given out")
		}
	}
	if text(nodes) != "d, mask = Dropout(x; ratio=0.5)\ny = Clip(d; min=0)" {
		t.Errorf("the nodes given changed:\n%s", text(nodes))
	}
	body.Live = []string{"y", "mask"}
	if _, err := LiftNodes(body, 10, 19); err == nil || !strings.Contains(err.Error(), "the mask") {
		t.Errorf("a live mask: got %v", err)
	}
	body.Nodes = []*graph.Node{node("Relu", "x", "y")}
	if got, err := LiftNodes(body, 21, 19); err != nil || got[0] == body.Nodes[0] || text(got) != "y = Relu(x)" {
		t.Errorf("from a newer version: %v, %s", err, text(got))
	}
}
