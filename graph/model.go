package graph

import "github.com/fp8rewrite/fp8rewrite/tensor"

// Model is one serialized model: a main graph, the operator sets its nodes mean, and functions of its own.
type Model struct {
	IRVersion       int64
	ProducerName    string
	ProducerVersion string
	Opsets          []Opset
	Metadata        []Property
	Graph           *Graph
	Functions       []*Function
	// Pinned are the names of the main graph that a part of the file reads which is not modelled here, such as training: what they
	// name must stay.
	Pinned []string

	Origin any // see the package comment
}

// Opset is an operator set and its version; Domain "" is ONNX's own.
type Opset struct {
	Domain  string
	Version int64
}

// Property is one entry of metadata.
type Property struct{ Key, Value string }

// Graph is a list of nodes in the order of the file, the values that enter and leave, and constants.
type Graph struct {
	Name         string
	Doc          string
	Nodes        []*Node
	Inputs       []*Value
	Outputs      []*Value
	Values       []*Value // types of inner values, as far as the file gives them
	Initializers []*Initializer
	Sparse       []*Sparse // sparse initializers
	Metadata     []Property

	Origin any
}

// Node is one operator call. An empty input or output name means that an optional one is left out.
type Node struct {
	Name       string
	OpType     string
	Domain     string
	Overload   string
	Inputs     []string
	Outputs    []string
	Attributes []*Attribute
	Doc        string
	Metadata   []Property

	Origin any
}

// Value names a value and gives its type, where known.
type Value struct {
	Name string
	Type *Type // nil when the file gives none

	Origin any
}

// Type is the type of a value. For a sequence or an optional only Elem says more; maps and sparse tensors have no detail here.
type Type struct {
	Kind  TypeKind
	DType tensor.DType
	Shape []Dim // meaningful when HasShape
	// HasShape tells a scalar (true, no dimensions) from an unknown rank (false).
	HasShape bool
	// Elem is what a sequence or an optional holds; nil where the file does not say.
	Elem *Type
}

// TypeKind tells dense tensors from everything else.
type TypeKind uint8

// The kinds of a value.
const (
	TensorKind TypeKind = iota
	OtherKind
	SequenceKind
	OptionalKind
)

// Dim is one axis: a fixed extent, a named one, or unknown (Param "" and Value -1).
type Dim struct {
	Value int64 // -1 when not fixed
	Param string
}

// Initializer is a named constant of a graph.
type Initializer struct {
	Name     string
	Tensor   *tensor.Tensor
	Metadata []Property

	Origin any
}

// Sparse is a sparse tensor, such as a sparse initializer. A codec writes it from its Origin: a change of the other fields is lost.
type Sparse struct {
	Name  string
	Shape tensor.Shape // of the dense tensor
	// Values are the elements that are not zero, [N]; Indices say where they lie: [N] in the flattened tensor, or [N, rank]. nil where the
	// file has none.
	Values, Indices *tensor.Tensor

	Origin any
}

// AttributeKind is the type of an attribute's value, in ONNX's numbering.
type AttributeKind int32

// The attribute kinds, in the numbering of ONNX's AttributeProto.AttributeType.
const (
	AttrUndefined AttributeKind = 0
	AttrFloat     AttributeKind = 1
	AttrInt       AttributeKind = 2
	AttrString    AttributeKind = 3
	AttrTensor    AttributeKind = 4
	AttrGraph     AttributeKind = 5
	AttrFloats    AttributeKind = 6
	AttrInts      AttributeKind = 7
	AttrStrings   AttributeKind = 8
	AttrTensors   AttributeKind = 9
	AttrGraphs    AttributeKind = 10
	AttrSparse    AttributeKind = 11
	AttrSparses   AttributeKind = 12
	AttrType      AttributeKind = 13
	AttrTypes     AttributeKind = 14
)

// Attribute is a named argument of a node. Exactly the field that Kind names is meaningful; kinds from AttrSparses on live in the
// Origin alone, and one of AttrSparse is written from there. Inside a function, Ref names the attribute of the call that gives the value.
type Attribute struct {
	Name    string
	Kind    AttributeKind
	Ref     string
	Float   float32
	Int     int64
	String  []byte
	Tensor  *tensor.Tensor
	Graph   *Graph
	Floats  []float32
	Ints    []int64
	Strings [][]byte
	Tensors []*tensor.Tensor
	Graphs  []*Graph
	Sparse  *Sparse

	Origin any
}

// Function is an operator that the model defines by other operators.
type Function struct {
	Name       string
	Domain     string
	Overload   string
	Doc        string
	Inputs     []string
	Outputs    []string
	Attributes []string     // names without a default
	Defaults   []*Attribute // attributes with a default
	Nodes      []*Node
	Opsets     []Opset
	Values     []*Value
	Metadata   []Property

	Origin any
}
