package layout

import (
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// list is an attribute of strings.
func list(name string, v ...string) *graph.Attribute {
	a := &graph.Attribute{Name: name, Kind: graph.AttrStrings}
	for _, s := range v {
		a.Strings = append(a.Strings, []byte(s))
	}
	return a
}

func TestStrings(t *testing.T) {
	split := func(delimiter string, limit ...int64) op {
		o := op{name: "StringSplit", opset: 20, outputs: 2, attrs: []*graph.Attribute{str("delimiter", delimiter)}}
		if len(limit) > 0 {
			o.attrs = append(o.attrs, graph.Int("maxsplit", limit[0]))
		}
		return o
	}
	normalize := func(a ...*graph.Attribute) op { return op{name: "StringNormalizer", opset: 10, attrs: a} }
	check(t, []example{
		{"concat", op{name: "StringConcat", opset: 20}, values{&kernel.Tensor{DType: tensor.String, Shape: []int{2, 1}, Strings: []string{"a", "b"}}, words("x", "é")}, `[2,2]{"ax" "aé" "bx" "bé"}`, nil},
		{"concat with a number", op{name: "StringConcat", opset: 20}, values{words("a"), i64(1)}, "", []string{"input 1 is int64[1], want strings"}},
		{"split", split(","), values{words("a,,b", "")}, `[2,3]{"a" "" "b" "" "" ""} ; {3 1}`, nil},
		{"split once", split(",", 1), values{words("a,b,c")}, `[1,2]{"a" "b,c"} ; {2}`, nil},
		{"split at white space", split(""), values{words("  a \t b ", " ")}, `[2,2]{"a" "b" "" ""} ; {2 0}`, nil},
		{"split once at white space", split("", 1), values{words("  a  b  c ")}, `[1,2]{"a" "b  c "} ; {2}`, nil},
		{"split nothing", split(","), values{words()}, `[0,0]{} ; {}`, nil},
		{"match", op{name: "RegexFullMatch", opset: 20, attrs: []*graph.Attribute{str("pattern", `a|ab\d`)}}, values{words("a", "ab1", "ab1 ", "\na")}, "{1 1 0 0}", nil},
		{"match what is no pattern", op{name: "RegexFullMatch", opset: 20, attrs: []*graph.Attribute{str("pattern", `(`)}}, values{words("a")}, "", []string{"missing closing"}},
		{"normalize", normalize(str("case_change_action", "UPPER"), list("stopwords", "THE")), values{words("the", "ünder")}, `{"ÜNDER"}`, nil},
		{"normalize with regard to case", normalize(graph.Int("is_case_sensitive", 1), list("stopwords", "THE")), values{words("the", "THE")}, `{"the"}`, nil},
		{"normalize everything away", normalize(list("stopwords", "a")), values{&kernel.Tensor{DType: tensor.String, Shape: []int{1, 2}, Strings: []string{"a", "A"}}}, `[1,1]{""}`, nil},
		{"normalize two rows", normalize(), values{&kernel.Tensor{DType: tensor.String, Shape: []int{2, 1}, Strings: []string{"a", "A"}}}, "", []string{"want [C] or [1,C]"}},
	})
}

// TestTfIdf has the example of the operator's description: 1-grams 2, 3, 5, 4 and 2-grams 5 6, 7 8, 6 7 at the places 0 to 6.
func TestTfIdf(t *testing.T) {
	vector := func(mode string, shortest, skips int64, more ...*graph.Attribute) op {
		return op{name: "TfIdfVectorizer", opset: 9, attrs: append([]*graph.Attribute{str("mode", mode), graph.Int("min_gram_length", shortest), graph.Int("max_gram_length", 2),
			graph.Int("max_skip_count", skips), graph.Ints("ngram_counts", 0, 4), graph.Ints("ngram_indexes", 0, 1, 2, 3, 4, 5, 6), graph.Ints("pool_int64s", 2, 3, 5, 4, 5, 6, 7, 8, 6, 7)}, more...)}
	}
	x := i64(1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8)
	weights := graph.Floats("weights", 1, 2, 3, 4, 5, 6, 7)
	check(t, []example{
		{"pairs that touch", vector("TF", 2, 0), values{x}, "{0 0 0 0 1 1 1}", nil},
		{"pairs with up to five between", vector("TF", 2, 5), values{x}, "{0 0 0 0 1 3 1}", nil},
		{"single ones too", vector("TF", 1, 5), values{x}, "{0 3 1 0 1 3 1}", nil},
		{"by weight", vector("TFIDF", 1, 5, weights), values{x}, "{0 6 3 0 5 18 7}", nil},
		{"by weight alone", vector("IDF", 1, 5, weights), values{x}, "{0 2 3 0 5 6 7}", nil},
		{"rows", vector("TF", 2, 0), values{kernel.FromSlice(tensor.Int32, []int{2, 2}, []int32{7, 8, 5, 6})}, "[2,7]{0 0 0 0 0 1 0 0 0 0 0 1 0 0}", nil},
		{"weights that are too few", vector("TF", 1, 0, graph.Floats("weights", 1)), values{x}, "", []string{"1 weights for 7"}},
		{"a pool that does not come out even", op{name: "TfIdfVectorizer", opset: 9, attrs: []*graph.Attribute{str("mode", "TF"), graph.Int("min_gram_length", 1), graph.Int("max_gram_length", 2), graph.Int("max_skip_count", 0),
			graph.Ints("ngram_counts", 0, 1), graph.Ints("ngram_indexes", 0, 1), list("pool_strings", "a", "b")}}, values{words("a")}, "", []string{"do not divide a pool of 2"}},
	})
}

func TestLabels(t *testing.T) {
	encode := func(a ...*graph.Attribute) op { return op{name: "ai.onnx.ml.LabelEncoder", opset: 4, attrs: a} }
	nan := float32(math.NaN())
	check(t, []example{
		{"strings to numbers", encode(list("keys_strings", "a", "b"), graph.Ints("values_int64s", 5, 6), graph.Int("default_int64", 9)), values{words("b", "c", "a")}, "{6 9 5}", nil},
		{"floats to strings, NaN too", encode(graph.Floats("keys_floats", nan, 0), list("values_strings", "none", "zero")), values{f32([]int{3}, float32(math.Copysign(0, -1)), nan, 1)}, `{"zero" "none" "_Unused"}`, nil},
		{"tensors", encode(graph.TensorAttr("keys_tensor", tensor.Int64s(tensor.Shape{2}, 1, 2)), graph.TensorAttr("values_tensor", tensor.Float32s(tensor.Shape{2}, 0.5, 1.5)), graph.TensorAttr("default_tensor", tensor.Float32s(tensor.Shape{1}, -1))), values{i64(2, 3)}, "{1.5 -1}", nil},
		{"the first version there", encode(list("classes_strings", "a", "b")), values{words("b", "x")}, "{1 -1}", nil},
		{"the first version back", encode(list("classes_strings", "a", "b")), values{i64(1, 7)}, `{"b" "_Unused"}`, nil},
		{"more keys than values", encode(list("keys_strings", "a", "b"), graph.Ints("values_int64s", 5)), values{words("b")}, "", []string{"string[2]", "int64[1]"}},
		{"two lists of keys", encode(list("keys_strings", "a"), graph.Ints("keys_int64s", 1), graph.Ints("values_int64s", 5)), values{words("b")}, "", []string{"2 lists of keys"}},
		{"another type", encode(list("keys_strings", "a"), graph.Ints("values_int64s", 5)), values{i64(1)}, "", []string{"input is int64[1], the keys are string"}},
		{"binarizer", op{name: "ai.onnx.ml.Binarizer", opset: 1, attrs: []*graph.Attribute{graph.Float("threshold", 1)}}, values{count(3)}, "{0 0 1}", nil},
		{"scaler", op{name: "ai.onnx.ml.Scaler", opset: 1, attrs: []*graph.Attribute{graph.Floats("offset", 1), graph.Floats("scale", 2, 3)}}, values{count(2, 2)}, "[2,2]{-2 0 2 6}", nil},
		{"normalizer", op{name: "ai.onnx.ml.Normalizer", opset: 1, attrs: []*graph.Attribute{str("norm", "L2")}}, values{f32([]int{2, 2}, 3, -4, 0, 0)}, "[2,2]{0.6 -0.8 0 0}", nil},
		{"feature extractor", op{name: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1}, values{count(2, 3), i64(2, 0)}, "[2,2]{2 0 5 3}", nil},
		{"feature extractor beyond the end", op{name: "ai.onnx.ml.ArrayFeatureExtractor", opset: 1}, values{count(2, 3), i64(3)}, "", []string{"index 3", "axis 1 of extent 3"}},
	})
}

// TestTrees walks x₀ ≤ 1 ? (x₁ in {2, 5} ? leaf 0 : leaf 1) : leaf 2.
func TestTrees(t *testing.T) {
	modes := &tensor.Tensor{DType: tensor.Uint8, Shape: tensor.Shape{2}, Data: tensor.Bytes{atMost, member}}
	tree := func(second int64, leaf int64, more ...*graph.Attribute) op {
		return op{name: "ai.onnx.ml.TreeEnsemble", opset: 5, attrs: append([]*graph.Attribute{graph.TensorAttr("nodes_modes", modes), graph.TensorAttr("nodes_splits", tensor.Float32s(tensor.Shape{2}, 1, 0)),
			graph.Ints("nodes_featureids", 0, 1), graph.Ints("nodes_truenodeids", second, 0), graph.Ints("nodes_falsenodeids", 2, 1), graph.Ints("nodes_trueleafs", 0, 1), graph.Ints("nodes_falseleafs", 1, leaf),
			graph.Ints("tree_roots", 0), graph.Ints("leaf_targetids", 0, 1, 1), graph.TensorAttr("leaf_weights", tensor.Float32s(tensor.Shape{3}, 10, 20, 30)), graph.Int("n_targets", 2),
			graph.TensorAttr("membership_values", tensor.Float32s(tensor.Shape{3}, 2, 5, float32(math.NaN())))}, more...)}
	}
	x := f32([]int{4, 2}, 0, 5, 1, 3, 2, 2, float32(math.NaN()), 2)
	check(t, []example{
		{"sums", tree(1, 1), values{x}, "[4,2]{10 0 0 20 0 30 0 30}", nil},
		{"NaN goes with yes", tree(1, 1, graph.Ints("nodes_missing_value_tracks_true", 1, 0)), values{x}, "[4,2]{10 0 0 20 0 30 10 0}", nil},
		{"softmax", tree(1, 1, graph.Int("post_transform", 1)), values{f32([]int{1, 2}, 0, 5)}, "[1,2]{1 4.54e-05}", nil},
		{"in a circle", tree(0, 1), values{f32([]int{1, 2}, 0, 5)}, "", []string{"circle at node 0"}},
		{"to a node that is not there", tree(2, 1), values{x}, "", []string{"node 0 leads to 2, want 0 to 1"}},
		{"too few features", tree(1, 1), values{count(1, 1)}, "", []string{"compares feature 1, the input has 1"}},
	})
}
