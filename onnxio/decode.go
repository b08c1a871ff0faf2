package onnxio

import (
	"errors"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// The Origins. Nodes, values, graphs and functions keep their message alone; what holds tensors also keeps where their bytes lie
// and the tensors that were decoded, so that saving can tell which ones are still the same.
type (
	modelOrigin struct {
		src  *source
		pb   *onnxpb.ModelProto
		file *File // nil when the model was not a file
	}
	tensorOrigin struct {
		src *source
		pb  *onnxpb.TensorProto
		t   *tensor.Tensor
	}
	attributeOrigin struct {
		src     *source
		pb      *onnxpb.AttributeProto
		tensor  *tensor.Tensor
		tensors []*tensor.Tensor
	}
	sparseOrigin struct {
		src *source
		pb  *onnxpb.SparseTensorProto
	}
)

// decoder turns messages into the graph.
type decoder struct{ src *source }

func (d decoder) model(pb *onnxpb.ModelProto) (*graph.Model, error) {
	m := &graph.Model{
		IRVersion:       pb.GetIrVersion(),
		ProducerName:    pb.GetProducerName(),
		ProducerVersion: pb.GetProducerVersion(),
		Opsets:          opsetsOf(pb.OpsetImport),
		Metadata:        propertiesOf(pb.MetadataProps),
		Origin:          &modelOrigin{src: d.src, pb: pb},
	}
	var err error
	if m.Graph, err = d.graph(pb.Graph); err != nil {
		return nil, err
	}
	for _, f := range pb.Functions {
		df, err := d.function(f)
		if err != nil {
			return nil, err
		}
		m.Functions = append(m.Functions, df)
	}
	for _, t := range pb.TrainingInfo { // not modelled, but saved: it must be as sound as the rest
		for _, g := range []*onnxpb.GraphProto{t.Initialization, t.Algorithm} {
			if g == nil {
				continue
			}
			dg, err := d.graph(g)
			if err != nil {
				return nil, fmt.Errorf("training info: %w", err)
			}
			graph.WalkNodes(dg.Nodes, func(n *graph.Node) { m.Pinned = append(m.Pinned, n.Inputs...) })
		}
		for _, bindings := range [][]*onnxpb.StringStringEntryProto{t.InitializationBinding, t.UpdateBinding} {
			for _, b := range bindings {
				m.Pinned = append(m.Pinned, b.GetKey(), b.GetValue())
			}
		}
	}
	return m, nil
}

func (d decoder) graph(pb *onnxpb.GraphProto) (*graph.Graph, error) {
	g := &graph.Graph{
		Name:     pb.GetName(),
		Doc:      pb.GetDocString(),
		Inputs:   valuesOf(pb.Input),
		Outputs:  valuesOf(pb.Output),
		Values:   valuesOf(pb.ValueInfo),
		Metadata: propertiesOf(pb.MetadataProps),
		Origin:   pb,
	}
	for i, t := range pb.Initializer {
		if t.GetName() == "" {
			return nil, fmt.Errorf("initializer %d of graph %q has no name", i, g.Name)
		}
		dt, err := d.src.tensor(t)
		if err != nil {
			return nil, fmt.Errorf("initializer %q: %w", t.GetName(), err)
		}
		g.Initializers = append(g.Initializers, &graph.Initializer{
			Name: t.GetName(), Tensor: dt, Metadata: propertiesOf(t.MetadataProps),
			Origin: &tensorOrigin{src: d.src, pb: t, t: dt},
		})
	}
	for _, s := range pb.SparseInitializer {
		sp, err := d.sparse(s)
		if err != nil {
			return nil, fmt.Errorf("sparse initializer %q: %w", s.GetValues().GetName(), err)
		}
		if s.GetValues().GetName() == "" {
			return nil, fmt.Errorf("a sparse initializer of graph %q has no name", g.Name)
		}
		sp.Origin = &sparseOrigin{src: d.src, pb: s}
		g.Sparse = append(g.Sparse, sp)
	}
	var err error
	if g.Nodes, err = d.nodes(pb.Node); err != nil {
		return nil, err
	}
	return g, nil
}

// sparse is a sparse tensor, which is written from its message.
func (d decoder) sparse(pb *onnxpb.SparseTensorProto) (*graph.Sparse, error) {
	if _, err := tensor.Shape(pb.Dims).Elements(); err != nil {
		return nil, err
	}
	if pb.Values == nil {
		return nil, errors.New("has no values")
	}
	s := &graph.Sparse{Name: pb.Values.GetName(), Shape: pb.Dims}
	var err error
	if s.Values, err = d.src.tensor(pb.Values); err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	if pb.Indices == nil {
		return s, nil
	}
	if s.Indices, err = d.src.tensor(pb.Indices); err != nil {
		return nil, fmt.Errorf("indices: %w", err)
	}
	return s, nil
}

func (d decoder) nodes(pbs []*onnxpb.NodeProto) ([]*graph.Node, error) {
	if pbs == nil {
		return nil, nil
	}
	nodes := make([]*graph.Node, len(pbs))
	for i, pb := range pbs {
		if pb.GetOpType() == "" {
			return nil, fmt.Errorf("node %q has no operator", pb.GetName())
		}
		n := &graph.Node{
			Name: pb.GetName(), OpType: pb.GetOpType(), Domain: pb.GetDomain(), Overload: pb.GetOverload(),
			Inputs: pb.Input, Outputs: pb.Output, Doc: pb.GetDocString(), Metadata: propertiesOf(pb.MetadataProps),
			Origin: pb,
		}
		var err error
		if n.Attributes, err = d.attributes(pb.Attribute); err != nil {
			return nil, fmt.Errorf("node %s: %w", nodeLabel(n), err)
		}
		nodes[i] = n
	}
	return nodes, nil
}

// nodeLabel names a node in an error: many have no name of their own.
func nodeLabel(n *graph.Node) string {
	if n.Name != "" {
		return fmt.Sprintf("%q (%s)", n.Name, n.OpType)
	}
	return fmt.Sprintf("of %q (%s)", n.Output(0), n.OpType)
}

func (d decoder) attributes(pbs []*onnxpb.AttributeProto) ([]*graph.Attribute, error) {
	if pbs == nil {
		return nil, nil
	}
	out := make([]*graph.Attribute, len(pbs))
	for i, pb := range pbs {
		a, err := d.attribute(pb)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", pb.GetName(), err)
		}
		out[i] = a
	}
	return out, nil
}

func (d decoder) attribute(pb *onnxpb.AttributeProto) (*graph.Attribute, error) {
	a := plainAttribute(pb)
	o := &attributeOrigin{src: d.src, pb: pb}
	a.Origin = o
	var err error
	if pb.T != nil {
		if o.tensor, err = d.src.tensor(pb.T); err != nil {
			return nil, named(pb.T, err)
		}
		a.Tensor = o.tensor
	}
	for _, t := range pb.Tensors {
		dt, err := d.src.tensor(t)
		if err != nil {
			return nil, named(t, err)
		}
		o.tensors = append(o.tensors, dt)
	}
	a.Tensors = append([]*tensor.Tensor(nil), o.tensors...)
	if pb.G != nil {
		if a.Graph, err = d.graph(pb.G); err != nil {
			return nil, err
		}
	}
	for _, g := range pb.Graphs {
		dg, err := d.graph(g)
		if err != nil {
			return nil, err
		}
		a.Graphs = append(a.Graphs, dg)
	}
	for _, s := range append(pb.SparseTensors[:len(pb.SparseTensors):len(pb.SparseTensors)], pb.SparseTensor) {
		if s == nil {
			continue
		}
		sp, err := d.sparse(s)
		if err != nil {
			return nil, fmt.Errorf("sparse tensor: %w", err)
		}
		if s == pb.SparseTensor {
			a.Sparse = sp
		}
	}
	return a, nil
}

// named adds the tensor's name to err, where it has one.
func named(pb *onnxpb.TensorProto, err error) error {
	if pb.GetName() == "" {
		return fmt.Errorf("tensor: %w", err)
	}
	return fmt.Errorf("tensor %q: %w", pb.GetName(), err)
}

// plainAttribute is the part of an attribute that is no tensor and no graph.
func plainAttribute(pb *onnxpb.AttributeProto) *graph.Attribute {
	return &graph.Attribute{
		Name: pb.GetName(), Kind: kindOf(pb), Ref: pb.GetRefAttrName(),
		Float: pb.GetF(), Int: pb.GetI(), String: pb.S,
		Floats: pb.Floats, Ints: pb.Ints, Strings: pb.Strings,
	}
}

// kindOf is the attribute's type; files of the first IR versions leave it out and set one value field.
func kindOf(pb *onnxpb.AttributeProto) graph.AttributeKind {
	switch {
	case pb.Type != nil && pb.GetType() != onnxpb.AttributeProto_UNDEFINED:
		return graph.AttributeKind(pb.GetType())
	case pb.F != nil:
		return graph.AttrFloat
	case pb.I != nil:
		return graph.AttrInt
	case pb.S != nil:
		return graph.AttrString
	case pb.T != nil:
		return graph.AttrTensor
	case pb.G != nil:
		return graph.AttrGraph
	case len(pb.Floats) > 0:
		return graph.AttrFloats
	case len(pb.Ints) > 0:
		return graph.AttrInts
	case len(pb.Strings) > 0:
		return graph.AttrStrings
	case len(pb.Tensors) > 0:
		return graph.AttrTensors
	case len(pb.Graphs) > 0:
		return graph.AttrGraphs
	}
	return graph.AttrUndefined
}

func (d decoder) function(pb *onnxpb.FunctionProto) (*graph.Function, error) {
	f := &graph.Function{
		Name: pb.GetName(), Domain: pb.GetDomain(), Overload: pb.GetOverload(), Doc: pb.GetDocString(),
		Inputs: pb.Input, Outputs: pb.Output, Attributes: pb.Attribute,
		Opsets: opsetsOf(pb.OpsetImport), Values: valuesOf(pb.ValueInfo), Metadata: propertiesOf(pb.MetadataProps),
		Origin: pb,
	}
	var err error
	if f.Defaults, err = d.attributes(pb.AttributeProto); err == nil {
		f.Nodes, err = d.nodes(pb.Node)
	}
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", f.Name, err)
	}
	return f, nil
}

func opsetsOf(pbs []*onnxpb.OperatorSetIdProto) []graph.Opset {
	if pbs == nil {
		return nil
	}
	out := make([]graph.Opset, len(pbs))
	for i, pb := range pbs {
		out[i] = graph.Opset{Domain: pb.GetDomain(), Version: pb.GetVersion()}
	}
	return out
}

func propertiesOf(pbs []*onnxpb.StringStringEntryProto) []graph.Property {
	if pbs == nil {
		return nil
	}
	out := make([]graph.Property, len(pbs))
	for i, pb := range pbs {
		out[i] = graph.Property{Key: pb.GetKey(), Value: pb.GetValue()}
	}
	return out
}

func valuesOf(pbs []*onnxpb.ValueInfoProto) []*graph.Value {
	if pbs == nil {
		return nil
	}
	out := make([]*graph.Value, len(pbs))
	for i, pb := range pbs {
		out[i] = &graph.Value{Name: pb.GetName(), Type: typeOf(pb.Type), Origin: pb}
	}
	return out
}

// typeOf is nil for a type that says nothing. A tensor type beside another one contradicts itself, and counts as other.
func typeOf(pb *onnxpb.TypeProto) *graph.Type {
	if pb == nil {
		return nil
	}
	switch sequence, optional := pb.SequenceType, pb.OptionalType; {
	case pb.MapType != nil || pb.OpaqueType != nil || pb.SparseTensorType != nil:
		return &graph.Type{Kind: graph.OtherKind}
	case pb.TensorType != nil && (sequence != nil || optional != nil) || sequence != nil && optional != nil:
		return &graph.Type{Kind: graph.OtherKind}
	case sequence != nil:
		return &graph.Type{Kind: graph.SequenceKind, Elem: typeOf(sequence.ElemType)}
	case optional != nil:
		return &graph.Type{Kind: graph.OptionalKind, Elem: typeOf(optional.ElemType)}
	}
	t := pb.TensorType
	if t == nil {
		return nil
	}
	out := &graph.Type{DType: tensor.DType(t.GetElemType()), HasShape: t.Shape != nil}
	for _, d := range t.GetShape().GetDim() {
		out.Shape = append(out.Shape, dimOf(d))
	}
	return out
}

func dimOf(pb *onnxpb.TensorShapeProto_Dimension) graph.Dim {
	if pb.DimParam != nil || pb.DimValue == nil {
		return graph.Dim{Value: -1, Param: pb.GetDimParam()}
	}
	return graph.Dim{Value: pb.GetDimValue()}
}
