package layout

import (
	"fmt"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Block is the extent of a block in both directions, the one that all loaders of block scales know.
const Block = 128

// Granularity is the part of a weight that one scale covers.
type Granularity string

// The granularities.
const (
	PerTensor  Granularity = "tensor"
	PerChannel Granularity = "channel" // a row of [N, K]
	PerBlock   Granularity = "block"   // 128×128
)

// Scheme is how the layers of a checkpoint are scaled.
type Scheme struct {
	Weights Granularity
	Static  bool // the activation's scale is stored; else the engine finds it while it runs
}

// Scales is the number of scales of one matrix of n rows and k columns, as rows and columns of scales.
func (s Scheme) Scales(n, k int64) (rows, columns int64) {
	switch s.Weights {
	case PerChannel:
		return n, 1
	case PerBlock:
		return (n + Block - 1) / Block, (k + Block - 1) / Block
	}
	return 1, 1
}

// Request is what the user asked for.
type Request struct {
	Weights Granularity // "" where nothing was said
	Inputs  bool        // scales of activations are at hand
	Folder  bool        // the checkpoint is a folder with a config.json
}

// Linear is a layer as a layout sees it.
type Linear struct {
	Module string // such as model.layers.0.mlp.down_proj
	Tensor string // such as model.layers.0.mlp.down_proj.weight
	// The weight is Parts matrices of N outputs and K inputs; Parts is 1 but for experts that are stacked in one tensor.
	Parts, N, K int64
	Stacked     bool // experts in one tensor of three axes
	Conv1D      bool // stored as [K, N]
	Fused       bool // engines join the layer with its siblings into one product
	Expert      bool // of a mixture of experts
	Turned      bool // taken from a stack of [K, N]
	Head        bool // makes the model's output
	// Splits are the outputs of the layers that were joined on disk, which engines take apart again; nil for a layer that was not.
	Splits []int64
	// Heads is the number of heads of keys or values that the layer makes; 0 where it makes none, or it is not known. Devices beyond it get copies.
	Heads int64
}

// Values are the numbers of one layer. Dequant has the scales of the matrices one after the other, rows of scales within a matrix.
type Values struct {
	Dequant []float32
	Quant   float32 // the multiplier into float8, of a single scale
	Amax    float32 // max|w|
	Input   float32 // amax of the activation; 0 where it is not known
}

// Folder is what the settings of a whole checkpoint depend on.
type Folder struct {
	Ignored   []string // linear layers that stayed as they were, sorted
	Quantized []string // modules of the float8 layers, sorted
	Version   string   // of this program
}

// Edits is what a layout changes beside the layers.
type Edits struct {
	Config   any               // quantization_config of config.json; nil for none
	Files    map[string][]byte // further files
	Metadata map[string]string // of every file of tensors that has a float8 layer
	Marker   []safetensors.Tensor
}

// Layout is one spelling.
type Layout interface {
	Name() string
	// Settle chooses the scheme; the error says what the layout cannot hold.
	Settle(Request) (Scheme, error)
	// Stacks reports whether the layout keeps experts stacked; else each gets a tensor of its own.
	Stacks() bool
	// Shares reports whether layers that engines join need one scale.
	Shares() bool
	// Refuse says why the layout's loader would not read the layer, "" where it does. tp is the number of devices that share a layer.
	Refuse(l Linear, s Scheme, tp int64) string
	// Beside are the tensors that stand beside the float8 weight. Their names, types and shapes do not depend on v.
	Beside(l Linear, s Scheme, v Values) []safetensors.Tensor
	// Edits is the rest; nothing where no layer is float8.
	Edits(f Folder, s Scheme) (Edits, error)
}

// All are the layouts, in the order of the documentation.
func All() []Layout {
	return []Layout{float8Linear{}, compressedTensors{}, fp8{}, fp8Transformers{}, modelOpt{}, comfy{}, deepSeek{}}
}

// Names are the names of All.
func Names() []string {
	var names []string
	for _, l := range All() {
		names = append(names, l.Name())
	}
	return names
}

// Find is the layout of this name.
func Find(name string) (Layout, error) {
	for _, l := range All() {
		if l.Name() == name {
			return l, nil
		}
	}
	return nil, fmt.Errorf("layout: got %q, want one of %s", name, strings.Join(Names(), ", "))
}

// pick is the granularity asked for, the first of those that the layout has where nothing was said.
func pick(name string, want Granularity, have ...Granularity) (Granularity, error) {
	if want == "" {
		return have[0], nil
	}
	for _, g := range have {
		if g == want {
			return g, nil
		}
	}
	texts := make([]string, len(have))
	for i, g := range have {
		texts[i] = string(g)
	}
	return "", fmt.Errorf("layout %s: weight scales per %s: its loader reads scales per %s", name, want, strings.Join(texts, " or "))
}

// settled is the scheme, or the error of scales for activations that it has no place for.
func settled(name string, r Request, s Scheme) (Scheme, error) {
	if r.Inputs && !s.Static {
		return s, fmt.Errorf("layout %s: weight scales per %s go with activations that are scaled while the model runs, and stored scales were given", name, s.Weights)
	}
	return s, nil
}

// needsFolder refuses a layout that lives in config.json for a single file.
func needsFolder(name string, r Request) error {
	if r.Folder {
		return nil
	}
	return fmt.Errorf("layout %s: its settings stand in config.json, and the checkpoint has none", name)
}

func scalar(name string, v float32) safetensors.Tensor {
	return safetensors.Tensor{Name: name, Tensor: tensor.Float32s(tensor.Shape{}, v)}
}

func list(name string, shape tensor.Shape, v []float32) safetensors.Tensor {
	n, _ := shape.Elements() // of a shape made from extents that were checked
	if int64(len(v)) != n {  // planning asks for shapes before there are values
		v = make([]float32, n)
	}
	return safetensors.Tensor{Name: name, Tensor: tensor.Float32s(shape, v...)}
}

func first(v []float32) float32 {
	if len(v) == 0 {
		return 0
	}
	return v[0]
}

// inputScale is the multiplier back from a float8 activation.
func inputScale(v Values) float32 { return v.Input / 448 }

// conv1D is why every layout but float8-linear refuses a layer that is stored as [K, N].
func conv1D(l Linear) string {
	if l.Conv1D {
		return "it is a Conv1D, whose weight is stored as [K, N], and the loader reads [N, K]"
	}
	return ""
}
