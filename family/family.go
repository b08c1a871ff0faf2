package family

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/graph"
)

// Options are the inputs that a graph has beside input_ids. Without them every token counts, and all are of type 0.
type Options struct {
	AttentionMask bool // attention_mask: 1 for tokens that others may see, 0 for padding
	TokenTypes    bool // token_type_ids, of BERT alone
}

// builders are the families, by model_type.
var builders = map[string]func(*builder){
	"llama": llama, "mistral": mistral, "qwen2": qwen2, "qwen3": qwen3, "gemma": gemma, "gpt2": gpt2, "bert": bert,
}

// Families are the model_type values that Build knows, sorted.
func Families() []string {
	var names []string
	for name := range builders {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Build is the graph of the model in the folder src. Its weights are views of the folder's files, which must stay open as long as the graph is used.
// The error names the key of config.json, or the tensor, with what was found and what is wanted: a [KeyError] or a [TensorError].
func Build(src *checkpoint.Source, opt Options) (*graph.Model, error) {
	if src.Config == nil {
		return nil, fmt.Errorf("%s: there is no config.json, which says what the tensors compute", src.Path)
	}
	b, err := newBuilder(src, opt)
	if err != nil {
		return nil, err
	}
	where := filepath.Join(src.Path, "config.json")
	family := src.Config.Text("model_type")
	build := builders[family]
	if build == nil {
		return nil, fmt.Errorf("%s: %w", where, &KeyError{"model_type", b.set.got("model_type"), "one of " + strings.Join(Families(), ", ")})
	}
	if src.Config.Has("quantization_config") {
		return nil, fmt.Errorf("%s: %w", where, &KeyError{"quantization_config", "a quantized model", "full precision"})
	}
	b.set.use("model_type")
	m, err := b.run(build)
	var key *KeyError
	switch {
	case errors.As(err, &key):
		return nil, fmt.Errorf("%s: %w", where, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", src.Path, err)
	}
	return m, nil
}
