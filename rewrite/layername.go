package rewrite

import (
	"regexp"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// layerName is what users call the layer: the module that holds it, where the exporter left that in the node's metadata, else the
// weight's name without its last part, else the node's name. Names of weights that an exporter made up tell nothing and are
// passed over. The name may be empty, and two layers may have the same one.
func layerName(n *graph.Node, weight string) string {
	if name := scopeName(n); name != "" {
		return name
	}
	if name := weightLayer(weight); name != "" {
		return name
	}
	if name := nodeLayer(n.Name); name != "" {
		return name
	}
	return n.OpType
}

// module is one step on the way from the model to the operator: its path so far and the class of what stands there.
type module struct{ path, class string }

// scopeName reads the metadata of torch.onnx: the innermost module around the operator.
func scopeName(n *graph.Node) string {
	path := modules(n)
	if len(path) < 2 {
		return ""
	}
	path = path[:len(path)-1] // the operator itself
	name := path[len(path)-1].path
	// A wrapper around a Hugging Face model, made for the export, is not part of the names that its checkpoint uses.
	if len(path) >= 2 && !strings.HasPrefix(path[0].class, "transformers.") && strings.HasPrefix(path[1].class, "transformers.models.") {
		if inner, ok := strings.CutPrefix(name, path[1].path+"."); ok && path[1].path != "" {
			return inner
		}
	}
	return name
}

// modules is the way from the model to the operator, outermost first: from "pkg.torch.onnx.name_scopes" and
// "pkg.torch.onnx.class_hierarchy", which are Python lists of strings, or from "namespace", which joins "path: class" by "/".
func modules(n *graph.Node) []module {
	if scopes, ok := n.Property("pkg.torch.onnx.name_scopes"); ok {
		names := pythonStrings(scopes)
		hierarchy, _ := n.Property("pkg.torch.onnx.class_hierarchy")
		classes := pythonStrings(hierarchy)
		out := make([]module, len(names))
		for i, name := range names {
			out[i].path = name
			if i < len(classes) {
				out[i].class = classes[i]
			}
		}
		return out
	}
	if ns, ok := n.Property("namespace"); ok {
		var out []module
		for _, step := range strings.Split(ns, "/") {
			path, class, found := strings.Cut(step, ": ")
			if !found {
				return nil
			}
			out = append(out, module{path, class})
		}
		return out
	}
	return nil
}

var pythonString = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"`)

// pythonStrings reads the text of a Python list of strings.
func pythonStrings(s string) []string {
	var out []string
	for _, m := range pythonString.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1]+m[2])
	}
	return out
}

// madeUp are the names that exporters give to constants that they folded.
var madeUp = regexp.MustCompile(`^(val_\d+|onnx::\w+_\d+|_v_\d+|\d+|[A-Za-z]|const\w*|Constant_?\d*|initializer_?\d*|W\d*|weights?\d*|tensor_?\d*|t\d+|input\d*)$`)

// weightSuffixes end the name of a weight whose layer is named by what stands before. The list holds what torch, Keras through
// tf2onnx and keras2onnx, and Flax write.
var weightSuffixes = []string{
	".weight", "/MatMul/ReadVariableOp:0", "/MatMul/ReadVariableOp/resource:0", "/kernel/read:0", "/kernel:0", "/kernel", ".kernel",
	"/weight", "_weight", ".W", ".w",
}

func weightLayer(weight string) string {
	if weight == "" || madeUp.MatchString(weight) {
		return ""
	}
	for _, suffix := range weightSuffixes {
		if layer, ok := strings.CutSuffix(weight, suffix); ok && layer != "" {
			return layer
		}
	}
	return weight
}

// nodeLayer reads a node's name: the TorchScript exporter writes the module's path with slashes and the operator at the end.
func nodeLayer(node string) string {
	if !strings.HasPrefix(node, "/") {
		return node
	}
	path := strings.Trim(node, "/")
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		if last := path[i+1:]; strings.HasPrefix(last, "MatMul") || strings.HasPrefix(last, "Gemm") {
			path = path[:i]
		}
	}
	return strings.ReplaceAll(path, "/", ".")
}
