package shape

import (
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// family is one row: a node over inputs x, w, ... and the types of its outputs y, z, v.
type row struct {
	name   string
	opset  int64
	inputs string
	ints   map[string][]int64
	node   *graph.Node
	want   string // of y
	also   string // of z
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if r.opset == 0 {
				r.opset = 21
			}
			m := model(t, r.opset, r.inputs, r.ints, r.node)
			i := Infer(m)
			if got := spell(i.Of(m.Graph, "y")); got != r.want {
				t.Errorf("%s: got %s, want %s", r.node.OpType, got, r.want)
			}
			if r.also == "" {
				return
			}
			if got := spell(i.Of(m.Graph, "z")); got != r.also {
				t.Errorf("%s, second output: got %s, want %s", r.node.OpType, got, r.also)
			}
		})
	}
}

type c = map[string][]int64

var (
	ai = graph.Int
	as = graph.Ints
)

func TestElementwiseOperatorsKeepOrBroadcast(t *testing.T) {
	check(t, []row{
		{name: "a unary operator keeps everything", inputs: "x:float16[2,N,?]", node: node("Relu x -> y"), want: "float16[2,N,?]"},
		{name: "a unary operator on an unknown rank", inputs: "x:float16", node: node("Erf x -> y"), want: "float16"},
		{name: "dropout's mask is boolean", inputs: "x:float32[2,3]", node: node("Dropout x -> y z"), want: "float32[2,3]", also: "bool[2,3]"},
		{name: "dropout's mask before opset 10", opset: 9, inputs: "x:float32[2,3]", node: node("Dropout x -> y z"),
			want: "float32[2,3]", also: "?[2,3]"},
		{name: "ranks broadcast", inputs: "x:float32[4,1,N] w:float32[3,1]", node: node("Add x w -> y"), want: "float32[4,3,N]"},
		{name: "a fixed extent wins over an unknown one", inputs: "x:float32[?,7] w:float32[5,1]", node: node("Mul x w -> y"),
			want: "float32[5,7]"},
		{name: "an unknown extent against 1 stays unknown", inputs: "x:float32[?] w:float32[1]", node: node("Mul x w -> y"), want: "float32[?]"},
		{name: "two names need not be one", inputs: "x:float32[N] w:float32[M]", node: node("Sub x w -> y"), want: "float32[?]"},
		{name: "one unknown rank", inputs: "x:float32[N] w:float32", node: node("Div x w -> y"), want: "float32"},
		{name: "before opset 7 the first operand's shape holds", opset: 6, inputs: "x:float32[2,3] w:float32[3]",
			node: node("Add x w -> y", ai("broadcast", 1)), want: "float32[2,3]"},
		{name: "pow has the base's type", inputs: "x:float32[2] w:int64[]", node: node("Pow x w -> y"), want: "float32[2]"},
		{name: "variadic", inputs: "x:float32[2,1] w:float32[1,3] u:float32[4,1,1]", node: node("Max x w u -> y"), want: "float32[4,2,3]"},
		{name: "comparison", inputs: "x:float32[2,1] w:float32[3]", node: node("Less x w -> y"), want: "bool[2,3]"},
		{name: "where", inputs: "x:bool[2,1] w:float32[3] u:float32[]", node: node("Where x w u -> y"), want: "float32[2,3]"},
		{name: "cast", inputs: "x:float32[2]", node: node("Cast x -> y", ai("to", 10)), want: "float16[2]"},
		{name: "cast like", inputs: "x:float32[2] w:bfloat16", node: node("CastLike x w -> y"), want: "bfloat16[2]"},
		{name: "softmax", inputs: "x:float32[2,3]", node: node("Softmax x -> y"), want: "float32[2,3]"},
		{name: "layer normalization", inputs: "x:float16[2,N,8] w:float16[8]", node: node("LayerNormalization x w -> y z"),
			want: "float16[2,N,8]", also: "float32[2,N,1]"},
		{name: "batch normalization", inputs: "x:float32[2,3,4,4] s:float32[3] b:float32[3] m:float32[3] v:float32[3]",
			node: node("BatchNormalization x s b m v -> y z _"), want: "float32[2,3,4,4]", also: "float32[?]"},
		{name: "quantize to the zero point's type", inputs: "x:float32[2] s:float32[] z0:int8[]",
			node: node("QuantizeLinear x s z0 -> y"), want: "int8[2]"},
		{name: "quantize without a zero point", inputs: "x:float32[2] s:float32[]", node: node("QuantizeLinear x s -> y"), want: "uint8[2]"},
		{name: "dequantize to the scale's type", inputs: "x:float8e4m3fn[2,3] s:float16[]", node: node("DequantizeLinear x s -> y"),
			want: "float16[2,3]"},
		{name: "an operator nobody knows", inputs: "x:float32[2]", node: node("Frobnicate x -> y"), want: "?"},
	})
}

func TestLinearOperators(t *testing.T) {
	check(t, []row{
		{name: "matmul of matrices", inputs: "x:float32[N,4] w:float32[4,5]", node: node("MatMul x w -> y"), want: "float32[N,5]"},
		{name: "matmul broadcasts leading axes", inputs: "x:float32[2,1,3,4] w:float32[6,4,5]", node: node("MatMul x w -> y"),
			want: "float32[2,6,3,5]"},
		{name: "vector times matrix", inputs: "x:float32[4] w:float32[4,5]", node: node("MatMul x w -> y"), want: "float32[5]"},
		{name: "matrix times vector", inputs: "x:float32[2,3,4] w:float32[4]", node: node("MatMul x w -> y"), want: "float32[2,3]"},
		{name: "vector times vector", inputs: "x:float32[4] w:float32[4]", node: node("MatMul x w -> y"), want: "float32[]"},
		{name: "matmul of an unknown rank", inputs: "x:float32 w:float32[4,5]", node: node("MatMul x w -> y"), want: "float32"},
		{name: "gemm is a matrix even so", inputs: "x:float32 w:float32[4,5]", node: node("Gemm x w -> y"), want: "float32[?,5]"},
		{name: "gemm transposed", inputs: "x:float32[4,N] w:float32[5,4]", node: node("Gemm x w -> y", ai("transA", 1), ai("transB", 1)),
			want: "float32[N,5]"},
		{name: "integer matmul", inputs: "x:uint8[N,4] w:int8[4,5]", node: node("MatMulInteger x w -> y"), want: "int32[N,5]"},
		{name: "float8 linear", inputs: "x:float16[B,S,4] w:float8e4m3fn[5,4]",
			node: func() *graph.Node { n := node("Float8LinearDynamic x w -> y z"); n.Domain = "ai.fp8rewrite"; return n }(),
			want: "float16[B,S,5]", also: "float32[]"},
		{name: "einsum", inputs: "x:float32[2,N,4] w:float32[4,5]", node: node("Einsum x w -> y", graph.Str("equation", "bij, jk -> bik")),
			want: "float32[2,N,5]"},
		{name: "lstm", inputs: "x:float32[S,B,4] w:float32[1,8,4]", node: node("LSTM x w -> y z"), want: "float32[S,?,B,?]", also: "float32[?,B,?]"},
		{name: "lstm with weights over the state", inputs: "x:float32[S,B,4] w:float32[2,8,4] v:float32[2,8,2]", node: node("LSTM x w v -> y z"),
			want: "float32[S,2,B,2]", also: "float32[2,B,2]"},
		{name: "gru, batch first", inputs: "x:float32[B,S,4] w:float32[1,6,4] v:float32[1,6,2]", node: node("GRU x w v -> y z", ai("layout", 1), ai("hidden_size", 2)),
			want: "float32[B,S,1,2]", also: "float32[B,1,2]"},
		{name: "attention", opset: 23, inputs: "x:float32[B,8,S,64] w:float32[B,2,T,64] v:float32[B,2,T,32]", node: node("Attention x w v -> y"),
			want: "float32[B,8,S,32]"},
		{name: "attention of three axes", opset: 23, inputs: "x:float32[B,S,512] w:float32[B,T,128] v:float32[B,T,64]",
			node: node("Attention x w v -> y", ai("q_num_heads", 8), ai("kv_num_heads", 2)), want: "float32[B,S,256]"},
	})
}

func TestOperatorsOfONNXRuntime(t *testing.T) {
	microsoft := func(s string, attrs ...*graph.Attribute) *graph.Node {
		n := node(s, attrs...)
		n.Domain = "com.microsoft"
		return n
	}
	check(t, []row{
		{name: "gelu", inputs: "x:float16[B,S,8] w:float16[8]", node: microsoft("BiasGelu x w -> y"), want: "float16[B,S,8]"},
		{name: "norm of a sum", inputs: "x:float32[B,S,8] w:float32[B,S,8] v:float32[8]", node: microsoft("SkipLayerNormalization x w v -> y m s z"),
			want: "float32[B,S,8]", also: "float32[B,S,8]"},
		{name: "norm of embeddings", inputs: "x:int32[B,S] s:int32[B,S] w:float32[100,8]", node: microsoft("EmbedLayerNormalization x s w -> y z"),
			want: "float32[B,S,8]", also: "int32[B]"},
		{name: "attention", inputs: "x:float32[B,S,8] w:float32[8,36]", node: microsoft("Attention x w -> y"), want: "float32[B,S,12]"},
		{name: "attention of sizes", inputs: "x:float32[B,S,8] w:float32[8,20]", node: microsoft("Attention x w -> y", as("qkv_hidden_sizes", 8, 8, 4)),
			want: "float32[B,S,4]"},
		{name: "attention with a cache", inputs: "x:float32[B,S,8] w:float32[8,24]", node: microsoft("Attention x w -> y z"), want: "float32[B,S,8]",
			also: "float32[?,?,?,?,?]"},
		{name: "heads", inputs: "x:float32[B,S,8] w:float32[B,T,8] v:float32[B,T,12]", node: microsoft("MultiHeadAttention x w v -> y", ai("num_heads", 4)),
			want: "float32[B,S,12]"},
		{name: "heads of heads", inputs: "x:float32[B,S,8] w:float32[B,4,T,2] v:float32[B,4,T,3]", node: microsoft("MultiHeadAttention x w v -> y", ai("num_heads", 4)),
			want: "float32[B,S,12]"},
		{name: "transposed product", inputs: "x:float32[B,S,8] w:float32[B,T,8]", node: microsoft("FusedMatMul x w -> y", ai("transB", 1)), want: "float32[B,S,T]"},
		{name: "product of blocks", inputs: "x:float32[B,S,8] w:uint8[5,1,4]", node: microsoft("MatMulNBits x w -> y", ai("N", 5)), want: "float32[B,S,5]"},
		{name: "anything else", inputs: "x:float32[B,S,8]", node: microsoft("Relu x -> y"), want: "?"},
	})
}

func TestConvolutionsAndPoolings(t *testing.T) {
	check(t, []row{
		{name: "conv", inputs: "x:float32[N,1,8,8] w:float32[16,1,3,3]", node: node("Conv x w -> y", as("pads", 1, 1, 1, 1)),
			want: "float32[N,16,8,8]"},
		{name: "conv with steps and dilation", inputs: "x:float32[1,1,11,12] w:float32[16,1,3,3]",
			node: node("Conv x w -> y", as("strides", 2, 3), as("dilations", 2, 1)), want: "float32[1,16,4,4]"},
		{name: "conv takes its rank from the weight", inputs: "x:float32 w:float32[16,1,3,3]", node: node("Conv x w -> y"),
			want: "float32[?,16,?,?]"},
		{name: "conv with automatic padding", inputs: "x:float32[1,1,11] w:float32[2,1,3]",
			node: node("Conv x w -> y", graph.Str("auto_pad", "SAME_UPPER"), as("strides", 2)), want: "float32[1,2,6]"},
		{name: "conv transposed", inputs: "x:float32[1,4,5,5] w:float32[4,2,3,3]", node: node("ConvTranspose x w -> y", ai("group", 2)),
			want: "float32[1,4,7,7]"},
		{name: "conv transposed with everything", inputs: "x:float32[N,4,5,?] w:float32[4,2,3,3]", node: node("ConvTranspose x w -> y", as("strides", 2, 2),
			as("pads", 1, 1, 1, 1), as("output_padding", 1, 1), as("dilations", 2, 1)), want: "float32[N,2,12,?]"},
		{name: "conv transposed to a size", inputs: "x:float32[N,4,5,5] w:float32[4,2,3,3]", node: node("ConvTranspose x w -> y", as("output_shape", 10, 9)),
			want: "float32[N,2,10,9]"},
		{name: "depth to space", inputs: "x:float32[N,12,5,?]", node: node("DepthToSpace x -> y", ai("blocksize", 2)), want: "float32[N,3,10,?]"},
		{name: "space to depth", inputs: "x:float32[N,3,10,9]", node: node("SpaceToDepth x -> y", ai("blocksize", 2)), want: "float32[N,12,5,?]"},
		{name: "grid sample", inputs: "x:float32[N,3,10,9] w:float32[N,4,H,2]", node: node("GridSample x w -> y"), want: "float32[N,3,4,H]"},
		{name: "resize to sizes", inputs: "x:float32[N,3,8,8]", ints: c{"s": {2, 3, 16, 9}}, node: node("Resize x _ _ s -> y"), want: "float32[2,3,16,9]"},
		{name: "resize of some axes", inputs: "x:float32[N,3,8,8]", ints: c{"s": {16, 9}}, node: node("Resize x _ _ s -> y", as("axes", -2, 3)), want: "float32[N,3,16,9]"},
		{name: "resize within a size", inputs: "x:float32[N,3,8,8]", ints: c{"s": {16, 9}},
			node: node("Resize x _ _ s -> y", as("axes", 2, 3), graph.Str("keep_aspect_ratio_policy", "not_larger")), want: "float32[?,?,?,?]"},
		{name: "pooling", inputs: "x:float32[N,16,8,9]", node: node("MaxPool x -> y z", as("kernel_shape", 2, 2), as("strides", 2, 2)),
			want: "float32[N,16,4,4]", also: "int64[N,16,4,4]"},
		{name: "pooling rounded up", inputs: "x:float32[N,16,8,9]",
			node: node("MaxPool x -> y", as("kernel_shape", 2, 2), as("strides", 2, 2), ai("ceil_mode", 1)), want: "float32[N,16,?,?]"},
		{name: "pooling over everything", inputs: "x:float32[N,16,8,?]", node: node("GlobalAveragePool x -> y"), want: "float32[N,16,1,1]"},
		{name: "pooling of an unknown rank", inputs: "x:float32", node: node("AveragePool x -> y", as("kernel_shape", 2, 2)),
			want: "float32[?,?,?,?]"},
		{name: "resize", inputs: "x:float32[N,3,8,8] s:float32[4]", node: node("Resize x _ s -> y"), want: "float32[?,?,?,?]"},
	})
}

func TestLayoutOperators(t *testing.T) {
	check(t, []row{
		{name: "reshape", inputs: "x:float32[2,3,4]", ints: c{"s": {6, 4}}, node: node("Reshape x s -> y"), want: "float32[6,4]"},
		{name: "reshape fills the rest", inputs: "x:float32[2,3,4]", ints: c{"s": {0, -1}}, node: node("Reshape x s -> y"), want: "float32[2,12]"},
		{name: "reshape with a name that cancels", inputs: "x:float32[N,3,4]", ints: c{"s": {0, -1}}, node: node("Reshape x s -> y"),
			want: "float32[N,12]"},
		{name: "reshape where the name is the rest", inputs: "x:float32[N,12]", ints: c{"s": {-1, 3, 4}}, node: node("Reshape x s -> y"),
			want: "float32[N,3,4]"},
		{name: "reshape of an unknown rank", inputs: "x:float32", ints: c{"s": {0, 0, -1, 8}}, node: node("Reshape x s -> y"),
			want: "float32[?,?,?,8]"},
		{name: "reshape by a computed shape of known length", inputs: "x:float32 s:int64[3]", node: node("Reshape x s -> y"),
			want: "float32[?,?,?]"},
		{name: "reshape by a shape of unknown length", inputs: "x:float32[2] s:int64[?]", node: node("Reshape x s -> y"), want: "float32"},
		{name: "reshape with real zeros", inputs: "x:float32[0,3]", ints: c{"s": {3, 0}}, node: node("Reshape x s -> y", ai("allowzero", 1)),
			want: "float32[3,0]"},
		{name: "flatten", inputs: "x:float32[N,16,4,4]", node: node("Flatten x -> y"), want: "float32[N,256]"},
		{name: "flatten at 0", inputs: "x:float32[2,3]", node: node("Flatten x -> y", ai("axis", 0)), want: "float32[1,6]"},
		{name: "flatten of an unknown rank", inputs: "x:float32", node: node("Flatten x -> y"), want: "float32[?,?]"},
		{name: "transpose", inputs: "x:float32[2,N,4]", node: node("Transpose x -> y", as("perm", 1, 2, 0)), want: "float32[N,4,2]"},
		{name: "transpose by default", inputs: "x:float32[2,N,4]", node: node("Transpose x -> y"), want: "float32[4,N,2]"},
		{name: "transpose of an unknown rank", inputs: "x:float32", node: node("Transpose x -> y", as("perm", 1, 0)), want: "float32[?,?]"},
		{name: "squeeze by attribute", opset: 11, inputs: "x:float32[1,N,1]", node: node("Squeeze x -> y", as("axes", 0)), want: "float32[N,1]"},
		{name: "squeeze by input", inputs: "x:float32[1,N,1]", ints: c{"a": {-1}}, node: node("Squeeze x a -> y"), want: "float32[1,N]"},
		{name: "squeeze everything", inputs: "x:float32[1,5,1]", node: node("Squeeze x -> y"), want: "float32[5]"},
		{name: "squeeze everything with a name", inputs: "x:float32[1,N]", node: node("Squeeze x -> y"), want: "float32"},
		{name: "squeeze by a computed axis", inputs: "x:float32[1,N] a:int64[1]", node: node("Squeeze x a -> y"), want: "float32[?]"},
		{name: "unsqueeze by attribute", opset: 11, inputs: "x:float32[N]", node: node("Unsqueeze x -> y", as("axes", 0, 2)), want: "float32[1,N,1]"},
		{name: "unsqueeze by input", inputs: "x:float32[N]", ints: c{"a": {-1}}, node: node("Unsqueeze x a -> y"), want: "float32[N,1]"},
		{name: "expand", inputs: "x:float32[3,1]", ints: c{"s": {2, 1, 6}}, node: node("Expand x s -> y"), want: "float32[2,3,6]"},
		{name: "expand by a computed shape", inputs: "x:float32[3,1] s:int64[3]", node: node("Expand x s -> y"), want: "float32[?,3,?]"},
		{name: "concat", inputs: "x:float32[2,N] w:float32[3,?]", node: node("Concat x w -> y", ai("axis", 0)), want: "float32[5,N]"},
		{name: "concat with an unknown part", inputs: "x:float32[2,N] w:float32", node: node("Concat x w -> y", ai("axis", -2)), want: "float32[?,N]"},
		{name: "split in equal parts", inputs: "x:float32[2,6]", node: node("Split x -> y z", ai("axis", 1), ai("num_outputs", 2)),
			want: "float32[2,3]", also: "float32[2,3]"},
		{name: "split with a smaller rest", inputs: "x:float32[7]", node: node("Split x -> y z", ai("num_outputs", 2)),
			want: "float32[4]", also: "float32[3]"},
		{name: "split by attribute", opset: 11, inputs: "x:float32[7,N]", node: node("Split x -> y z", as("split", 2, 5)),
			want: "float32[2,N]", also: "float32[5,N]"},
		{name: "split by a computed input", inputs: "x:float32[7,N] s:int64[2]", node: node("Split x s -> y z"),
			want: "float32[?,N]", also: "float32[?,N]"},
		{name: "tile", inputs: "x:float32[2,N,3]", ints: c{"r": {2, 1, 3}}, node: node("Tile x r -> y"), want: "float32[4,N,9]"},
		{name: "pad", inputs: "x:float32[2,N,3]", ints: c{"p": {1, 0, 0, 1, 0, 2}}, node: node("Pad x p -> y"), want: "float32[4,N,5]"},
		{name: "pad some axes", inputs: "x:float32[2,N,3]", ints: c{"p": {1, 2}, "a": {-1}}, node: node("Pad x p _ a -> y"), want: "float32[2,N,6]"},
		{name: "pad by attribute", opset: 10, inputs: "x:float32[2,3]", node: node("Pad x -> y", as("pads", 0, 1, 0, 1)), want: "float32[2,5]"},
	})
}

func TestIndexingOperators(t *testing.T) {
	check(t, []row{
		{name: "slice", inputs: "x:float32[10,N]", ints: c{"s": {2}, "e": {-1}, "a": {0}, "k": {3}}, node: node("Slice x s e a k -> y"),
			want: "float32[3,N]"},
		{name: "slice to the end", inputs: "x:float32[10,N]", ints: c{"s": {0}, "e": {1<<63 - 1}, "a": {1}}, node: node("Slice x s e a -> y"),
			want: "float32[10,N]"},
		{name: "slice backwards", inputs: "x:float32[10]", ints: c{"s": {-1}, "e": {-11}, "a": {0}, "k": {-2}},
			node: node("Slice x s e a k -> y"), want: "float32[5]"},
		{name: "slice by attribute", opset: 9, inputs: "x:float32[10,8]", node: node("Slice x -> y", as("starts", 1, 2), as("ends", 3, 100)),
			want: "float32[2,6]"},
		{name: "slice between computed ends", inputs: "x:float32[10,8] s:int64[1] e:int64[1]", ints: c{"a": {1}},
			node: node("Slice x s e a -> y"), want: "float32[10,?]"},
		{name: "slice of computed axes", inputs: "x:float32[10,8] s:int64[1] e:int64[1]", node: node("Slice x s e -> y"), want: "float32[?,?]"},
		{name: "gather rows", inputs: "x:float32[100,64] i:int64[B,S]", node: node("Gather x i -> y"), want: "float32[B,S,64]"},
		{name: "gather one", inputs: "x:float32[B,S,64] i:int64[]", node: node("Gather x i -> y", ai("axis", 1)), want: "float32[B,64]"},
		{name: "gather elements", inputs: "x:float32[3,3] i:int64[2,3]", node: node("GatherElements x i -> y"), want: "float32[2,3]"},
		{name: "gather nd", inputs: "x:float32[2,3,4] i:int64[5,2]", node: node("GatherND x i -> y"), want: "float32[5,4]"},
		{name: "top k", inputs: "x:float32[N,10]", ints: c{"k": {3}}, node: node("TopK x k -> y z"), want: "float32[N,3]", also: "int64[N,3]"},
		{name: "one hot", inputs: "x:int64[N,2] v:float32[2]", ints: c{"scalar_d": {7}}, node: node("OneHot x scalar_d v -> y", ai("axis", 1)),
			want: "float32[N,7,2]"},
		{name: "non zero", inputs: "x:float32[N,2]", node: node("NonZero x -> y"), want: "int64[2,?]"},
		{name: "reduce all", inputs: "x:float32[N,2]", node: node("ReduceMax x -> y"), want: "float32[1,1]"},
		{name: "reduce all away", inputs: "x:float32", node: node("ReduceMax x -> y", ai("keepdims", 0)), want: "float32[]"},
		{name: "reduce by input", inputs: "x:float32[N,2,3]", ints: c{"a": {-1}}, node: node("ReduceMean x a -> y"), want: "float32[N,2,1]"},
		{name: "reduce by attribute", opset: 13, inputs: "x:float32[N,2,3]", node: node("ReduceMean x -> y", as("axes", 0, 2), ai("keepdims", 0)),
			want: "float32[2]"},
		{name: "reduce nothing", inputs: "x:float32[N,2]", node: node("ReduceSum x -> y", ai("noop_with_empty_axes", 1)), want: "float32[N,2]"},
		{name: "reduce by a computed axis", inputs: "x:float32[N,2] a:int64[1]", node: node("ReduceSum x a -> y"), want: "float32[?,?]"},
		{name: "arg max", inputs: "x:float32[N,2]", node: node("ArgMax x -> y", ai("axis", -1), ai("keepdims", 0)), want: "int64[N]"},
	})
}

func TestValuesMadeFromShapes(t *testing.T) {
	check(t, []row{
		{name: "shape", inputs: "x:float32[N,2,3]", node: node("Shape x -> y"), want: "int64[3]"},
		{name: "part of a shape", inputs: "x:float32[N,2,3]", node: node("Shape x -> y", ai("start", -2)), want: "int64[2]"},
		{name: "size", inputs: "x:float32", node: node("Size x -> y"), want: "int64[]"},
		{name: "constant of shape", ints: c{"s": {2, 3}}, node: node("ConstantOfShape s -> y"), want: "float32[2,3]"},
		{name: "constant of shape, typed", inputs: "s:int64[2]",
			node: node("ConstantOfShape s -> y", graph.TensorAttr("value", tensor.Bools(tensor.Shape{1}, true))), want: "bool[?,?]"},
		{name: "constant", node: node("Constant -> y", graph.TensorAttr("value", tensor.Float32s(tensor.Shape{1, 2}, 1, 2))), want: "float32[1,2]"},
		{name: "constant of floats", node: node("Constant -> y", graph.Floats("value_floats", 1, 2)), want: "float32[2]"},
		{name: "range", ints: c{"scalar_a": {1}, "scalar_b": {10}, "scalar_c": {4}}, node: node("Range scalar_a scalar_b scalar_c -> y"),
			want: "int64[3]"},
	})
}
