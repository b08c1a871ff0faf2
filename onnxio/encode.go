package onnxio

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/onnxpb"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// placement says which tensors leave the model file.
type placement uint8

const (
	allInline       placement = iota
	initializersOut           // initializers of all graphs; some readers take no other tensors from outside
	attributesOut             // tensors of nodes' attributes as well, where the rest is still too large
)

// Offsets in the data file. A tensor that is worth mapping alone begins at a multiple of 64 KiB: that is a multiple of the 4096 that
// ONNX asks for, of every page size in use, and the granularity in which Windows maps. Smaller ones, for which it would waste more
// than a sixteenth, begin at a multiple of 64 bytes, a cache line.
const (
	largeAlignment = 64 << 10
	largeTensor    = 1 << 20
	smallAlignment = 64
)

// encoder turns the graph back into messages. Records in raw_data count in blobs; what leaves the file is in outside.
type encoder struct {
	place     placement
	threshold int64
	location  *string // shared by all external tensors, so that it can be set when the data file has its name

	blobs   []tensor.Data
	outside []tensor.Data
	offset  int64         // end of the data file so far
	placed  map[any]int64 // by placeKey
}

func (e *encoder) model(m *graph.Model) (*onnxpb.ModelProto, error) {
	o, _ := m.Origin.(*modelOrigin)
	p := patchOf[onnxpb.ModelProto](nil)
	if o != nil {
		p = patchOf(o.pb)
	}
	pb := p.own()
	if pb.IrVersion == nil || pb.GetIrVersion() != m.IRVersion {
		pb.IrVersion = &m.IRVersion
	}
	setString(&pb.ProducerName, m.ProducerName)
	setString(&pb.ProducerVersion, m.ProducerVersion)
	pb.OpsetImport = opsets(pb.OpsetImport, m.Opsets)
	pb.MetadataProps = properties(pb.MetadataProps, m.Metadata)
	var err error
	if pb.Graph, err = e.graph(m.Graph); err != nil {
		return nil, err
	}
	pb.Functions = nil
	for _, f := range m.Functions {
		ef, err := e.function(f)
		if err != nil {
			return nil, err
		}
		pb.Functions = append(pb.Functions, ef)
	}
	for i, t := range pb.TrainingInfo {
		if i == 0 {
			pb.TrainingInfo = slices.Clone(pb.TrainingInfo)
		}
		if pb.TrainingInfo[i], err = opaque(e, o.src, t); err != nil {
			return nil, fmt.Errorf("training info: %w", err)
		}
	}
	return pb, nil
}

func (e *encoder) graph(g *graph.Graph) (*onnxpb.GraphProto, error) {
	o, _ := g.Origin.(*onnxpb.GraphProto)
	pb := patchOf(o).own()
	setString(&pb.Name, g.Name)
	setString(&pb.DocString, g.Doc)
	pb.Input = values(g.Inputs)
	pb.Output = values(g.Outputs)
	pb.ValueInfo = values(g.Values)
	pb.MetadataProps = properties(pb.MetadataProps, g.Metadata)
	var err error
	if pb.Node, err = e.nodes(g.Nodes); err != nil {
		return nil, err
	}
	pb.Initializer = nil
	for _, i := range g.Initializers {
		o, _ := i.Origin.(*tensorOrigin)
		t, err := e.tensor(i.Tensor, o, e.place >= initializersOut)
		if err != nil {
			return nil, fmt.Errorf("initializer %q: %w", i.Name, err)
		}
		setString(&t.Name, i.Name)
		t.MetadataProps = properties(t.MetadataProps, i.Metadata)
		pb.Initializer = append(pb.Initializer, t)
	}
	pb.SparseInitializer = nil
	for _, s := range g.Sparse {
		o, _ := s.Origin.(*sparseOrigin)
		if o == nil {
			return nil, fmt.Errorf("sparse initializer %q: has no origin to be written from", s.Name)
		}
		sp, err := opaque(e, o.src, o.pb)
		if err != nil {
			return nil, fmt.Errorf("sparse initializer %q: %w", s.Name, err)
		}
		if sp.Values != nil {
			setString(&sp.Values.Name, s.Name)
		}
		pb.SparseInitializer = append(pb.SparseInitializer, sp)
	}
	return pb, nil
}

func (e *encoder) nodes(nodes []*graph.Node) ([]*onnxpb.NodeProto, error) {
	out := make([]*onnxpb.NodeProto, len(nodes))
	for i, n := range nodes {
		o, _ := n.Origin.(*onnxpb.NodeProto)
		p := patchOf(o)
		patchString(p, func(m *onnxpb.NodeProto) **string { return &m.Name }, n.Name)
		patchString(p, func(m *onnxpb.NodeProto) **string { return &m.OpType }, n.OpType)
		patchString(p, func(m *onnxpb.NodeProto) **string { return &m.Domain }, n.Domain)
		patchString(p, func(m *onnxpb.NodeProto) **string { return &m.Overload }, n.Overload)
		patchString(p, func(m *onnxpb.NodeProto) **string { return &m.DocString }, n.Doc)
		if !slices.Equal(p.pb.Input, n.Inputs) {
			p.own().Input = n.Inputs
		}
		if !slices.Equal(p.pb.Output, n.Outputs) {
			p.own().Output = n.Outputs
		}
		if props := properties(p.pb.MetadataProps, n.Metadata); !slices.Equal(props, p.pb.MetadataProps) {
			p.own().MetadataProps = props
		}
		attrs, err := e.attributes(n.Attributes)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", nodeLabel(n), err)
		}
		if !slices.Equal(attrs, p.pb.Attribute) {
			p.own().Attribute = attrs
		}
		out[i] = p.pb
	}
	return out, nil
}

func (e *encoder) attributes(attrs []*graph.Attribute) ([]*onnxpb.AttributeProto, error) {
	out := make([]*onnxpb.AttributeProto, len(attrs))
	for i, a := range attrs {
		pb, err := e.attribute(a)
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", a.Name, err)
		}
		out[i] = pb
	}
	return out, nil
}

func (e *encoder) attribute(a *graph.Attribute) (*onnxpb.AttributeProto, error) {
	o, _ := a.Origin.(*attributeOrigin)
	if o == nil || kindOf(o.pb) != a.Kind {
		o = &attributeOrigin{} // nothing of a value of another kind may stay
	}
	p := patchOf(o.pb)
	was := plainAttribute(p.pb)
	patchString(p, func(m *onnxpb.AttributeProto) **string { return &m.Name }, a.Name)
	patchString(p, func(m *onnxpb.AttributeProto) **string { return &m.RefAttrName }, a.Ref)
	if a.Kind != was.Kind {
		p.own().Type = onnxpb.AttributeProto_AttributeType(a.Kind).Enum()
	}
	// A new attribute says its value even where it is zero; one that was read may have left it out.
	isNew := o.pb == nil && a.Ref == ""
	if !sameFloat(a.Float, was.Float) || isNew && a.Kind == graph.AttrFloat {
		p.own().F = &a.Float
	}
	if a.Int != was.Int || isNew && a.Kind == graph.AttrInt {
		p.own().I = &a.Int
	}
	if string(a.String) != string(was.String) || isNew && a.Kind == graph.AttrString {
		p.own().S = append([]byte{}, a.String...)
	}
	if !slices.EqualFunc(a.Floats, was.Floats, sameFloat) {
		p.own().Floats = a.Floats
	}
	if !slices.Equal(a.Ints, was.Ints) {
		p.own().Ints = a.Ints
	}
	if !slices.EqualFunc(a.Strings, was.Strings, func(x, y []byte) bool { return string(x) == string(y) }) {
		p.own().Strings = a.Strings
	}
	if err := e.attributeTensors(a, o, p); err != nil {
		return nil, err
	}
	if a.Graph != nil || p.pb.G != nil {
		pb := p.own()
		pb.G = nil
		if a.Graph != nil {
			var err error
			if pb.G, err = e.graph(a.Graph); err != nil {
				return nil, err
			}
		}
	}
	if len(a.Graphs) > 0 || len(p.pb.Graphs) > 0 {
		pb := p.own()
		pb.Graphs = nil
		for _, g := range a.Graphs {
			eg, err := e.graph(g)
			if err != nil {
				return nil, err
			}
			pb.Graphs = append(pb.Graphs, eg)
		}
	}
	return p.pb, nil
}

func sameFloat(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }

// attributeTensors encodes the tensors of a, dense and sparse.
func (e *encoder) attributeTensors(a *graph.Attribute, o *attributeOrigin, p *patch[onnxpb.AttributeProto, *onnxpb.AttributeProto]) error {
	encode := func(t *tensor.Tensor, from *onnxpb.TensorProto, was *tensor.Tensor) (*onnxpb.TensorProto, error) {
		var to *tensorOrigin
		if from != nil {
			to = &tensorOrigin{src: o.src, pb: from, t: was}
		}
		return e.tensor(t, to, e.place >= attributesOut)
	}
	if a.Tensor != nil || p.pb.T != nil {
		from := p.pb.T
		pb := p.own()
		pb.T = nil
		if a.Tensor != nil {
			var err error
			if pb.T, err = encode(a.Tensor, from, o.tensor); err != nil {
				return named(from, err)
			}
		}
	}
	if len(a.Tensors) > 0 || len(p.pb.Tensors) > 0 {
		from := p.pb.Tensors
		pb := p.own()
		pb.Tensors = nil
		for i, t := range a.Tensors {
			var f *onnxpb.TensorProto
			var was *tensor.Tensor
			if i < len(from) {
				f, was = from[i], o.tensors[i]
			}
			et, err := encode(t, f, was)
			if err != nil {
				return named(f, err)
			}
			pb.Tensors = append(pb.Tensors, et)
		}
	}
	if p.pb.SparseTensor != nil {
		s, err := opaque(e, o.src, p.pb.SparseTensor)
		if err != nil {
			return err
		}
		p.own().SparseTensor = s
	}
	for i := range p.pb.SparseTensors {
		s, err := opaque(e, o.src, p.pb.SparseTensors[i])
		if err != nil {
			return err
		}
		pb := p.own()
		if i == 0 {
			pb.SparseTensors = slices.Clone(pb.SparseTensors)
		}
		pb.SparseTensors[i] = s
	}
	return nil
}

func (e *encoder) function(f *graph.Function) (*onnxpb.FunctionProto, error) {
	o, _ := f.Origin.(*onnxpb.FunctionProto)
	pb := patchOf(o).own()
	setString(&pb.Name, f.Name)
	setString(&pb.Domain, f.Domain)
	setString(&pb.Overload, f.Overload)
	setString(&pb.DocString, f.Doc)
	pb.Input, pb.Output, pb.Attribute = f.Inputs, f.Outputs, f.Attributes
	pb.OpsetImport = opsets(pb.OpsetImport, f.Opsets)
	pb.ValueInfo = values(f.Values)
	pb.MetadataProps = properties(pb.MetadataProps, f.Metadata)
	var err error
	if pb.AttributeProto, err = e.attributes(f.Defaults); err == nil {
		pb.Node, err = e.nodes(f.Nodes)
	}
	if err != nil {
		return nil, fmt.Errorf("function %q: %w", f.Name, err)
	}
	return pb, nil
}

// tensor encodes t. A tensor that is still the one decoded from o keeps its encoding, unless it moves between files; the message is
// always a copy, since its raw_data becomes a record of this encoder.
func (e *encoder) tensor(t *tensor.Tensor, o *tensorOrigin, mayLeave bool) (*onnxpb.TensorProto, error) {
	if t == nil {
		return nil, errors.New("has no tensor")
	}
	var from *onnxpb.TensorProto
	if o != nil {
		from = o.pb
	}
	pb := patchOf(from).own()
	same := o != nil && o.t == t
	leaves := mayLeave && t.Data != nil && t.Size() >= e.threshold && t.Size() > 0
	if same && !leaves && pb.GetDataLocation() != onnxpb.TensorProto_EXTERNAL {
		switch {
		case pb.RawData == nil:
		case len(typedFields(pb)) > 0: // an empty raw_data beside it
			pb.RawData = e.blob(nil)
		default:
			pb.RawData = e.blob(t.Data)
		}
		return pb, nil
	}
	if !same {
		pb.Dims = t.Shape
		if pb.DataType == nil || pb.GetDataType() != int32(t.DType) {
			pb.DataType = proto.Int32(int32(t.DType))
		}
		if err := checkContent(t); err != nil {
			return nil, err
		}
	}
	pb.Segment = nil
	pb.FloatData, pb.Int32Data, pb.Int64Data, pb.DoubleData, pb.Uint64Data, pb.StringData = nil, nil, nil, nil, nil, nil
	pb.RawData, pb.ExternalData, pb.DataLocation = nil, nil, nil
	switch {
	case t.DType == tensor.String:
		pb.StringData = t.Strings
	case leaves:
		pb.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
		pb.ExternalData = []*onnxpb.StringStringEntryProto{
			{Key: proto.String("location"), Value: e.location},
			{Key: proto.String("offset"), Value: proto.String(strconv.FormatInt(e.leave(t), 10))},
			{Key: proto.String("length"), Value: proto.String(strconv.FormatInt(t.Size(), 10))},
		}
	default:
		pb.RawData = e.blob(t.Data)
	}
	return pb, nil
}

// checkContent holds what a pass made against its own shape: a wrong size would make a file that nobody can open.
func checkContent(t *tensor.Tensor) error {
	n, err := t.Shape.Elements()
	if err != nil {
		return err
	}
	if t.DType == tensor.String {
		if int64(len(t.Strings)) != n {
			return fmt.Errorf("%s%s: got %d strings, want %d", t.DType, t.Shape, len(t.Strings), n)
		}
		return nil
	}
	want, err := t.DType.ByteSize(n)
	if err != nil {
		return err
	}
	if t.Data == nil || t.Data.Size() != want {
		return fmt.Errorf("%s%s: got %d bytes, want %d", t.DType, t.Shape, t.Size(), want)
	}
	return nil
}

// blob takes d into the rope and gives its record.
func (e *encoder) blob(d tensor.Data) []byte {
	if d == nil {
		d = tensor.Bytes(nil)
	}
	e.blobs = append(e.blobs, d)
	return appendRecord(nil, uint64(len(e.blobs)-1), uint64(d.Size()))
}

// placeKey is equal for tensors with the same content by construction: the same tensor, or the same bytes of a mapped file, as
// where two initializers of the source point at one place.
func placeKey(t *tensor.Tensor) any {
	if b, ok := t.Data.(tensor.Bytes); ok {
		type place struct {
			at *byte
			n  int
		}
		return place{unsafe.SliceData(b), len(b)}
	}
	return t
}

// leave takes t into the data file, once however often it is used, and gives its offset there.
func (e *encoder) leave(t *tensor.Tensor) int64 {
	key := placeKey(t)
	if at, ok := e.placed[key]; ok {
		return at
	}
	align := int64(smallAlignment)
	if t.Size() >= largeTensor {
		align = largeAlignment
	}
	if gap := (align - e.offset%align) % align; gap > 0 {
		e.outside = append(e.outside, tensor.Bytes(zeros[:gap]))
		e.offset += gap
	}
	at := e.offset
	e.outside = append(e.outside, t.Data)
	e.offset += t.Size()
	if e.placed == nil {
		e.placed = map[any]int64{}
	}
	e.placed[key] = at
	return at
}

var zeros [largeAlignment]byte

// opaque copies a message that the graph does not model; the tensors inside are written like all others, but stay in the file.
func opaque[M proto.Message](e *encoder, src *source, pb M) (M, error) {
	c := proto.CloneOf(pb)
	err := e.walkTensors(c.ProtoReflect(), src)
	return c, err
}

func (e *encoder) walkTensors(m protoreflect.Message, src *source) (err error) {
	if pb, ok := m.Interface().(*onnxpb.TensorProto); ok {
		t, err := src.tensor(pb)
		if err != nil {
			return named(pb, err)
		}
		c, err := e.tensor(t, &tensorOrigin{src: src, pb: pb, t: t}, e.place >= attributesOut)
		if err != nil {
			return named(pb, err)
		}
		pb.RawData, pb.ExternalData, pb.DataLocation = c.RawData, c.ExternalData, c.DataLocation
		pb.FloatData, pb.Int32Data, pb.Int64Data = c.FloatData, c.Int32Data, c.Int64Data
		pb.DoubleData, pb.Uint64Data = c.DoubleData, c.Uint64Data
		return nil
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				if err = e.walkTensors(v.List().Get(i).Message(), src); err != nil {
					break
				}
			}
		default:
			err = e.walkTensors(v.Message(), src)
		}
		return err == nil
	})
	return err
}

func values(vs []*graph.Value) []*onnxpb.ValueInfoProto {
	var out []*onnxpb.ValueInfoProto
	for _, v := range vs {
		o, _ := v.Origin.(*onnxpb.ValueInfoProto)
		p := patchOf(o)
		patchString(p, func(m *onnxpb.ValueInfoProto) **string { return &m.Name }, v.Name)
		if !sameType(v.Type, typeOf(p.pb.Type)) {
			p.own().Type = typeProto(p.pb.Type, v.Type)
		}
		out = append(out, p.pb)
	}
	return out
}

func sameType(a, b *graph.Type) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.DType == b.DType && a.HasShape == b.HasShape && slices.Equal(a.Shape, b.Shape) && sameType(a.Elem, b.Elem)
}

// typeProto is the message for t; denotations of from survive where the type is still of the same kind.
func typeProto(from *onnxpb.TypeProto, t *graph.Type) *onnxpb.TypeProto {
	if t == nil || t.Kind == graph.OtherKind {
		return nil // this kind's details are in the message that it came from; without one nothing is known
	}
	was := patchOf(from).pb
	pb := patchOf(from).own()
	pb.TensorType, pb.SequenceType, pb.MapType, pb.OpaqueType, pb.SparseTensorType, pb.OptionalType = nil, nil, nil, nil, nil, nil
	switch t.Kind {
	case graph.SequenceKind:
		pb.SequenceType = patchOf(was.SequenceType).own()
		pb.SequenceType.ElemType = typeProto(pb.SequenceType.ElemType, t.Elem)
		return pb
	case graph.OptionalKind:
		pb.OptionalType = patchOf(was.OptionalType).own()
		pb.OptionalType.ElemType = typeProto(pb.OptionalType.ElemType, t.Elem)
		return pb
	}
	tt := patchOf(was.TensorType).own()
	pb.TensorType = tt
	if tt.ElemType == nil || tt.GetElemType() != int32(t.DType) {
		tt.ElemType = proto.Int32(int32(t.DType))
	}
	old := tt.GetShape().GetDim()
	if !t.HasShape {
		tt.Shape = nil
		return pb
	}
	shape := patchOf(tt.Shape).own()
	tt.Shape = shape
	shape.Dim = nil
	for i, d := range t.Shape {
		if i < len(old) && dimOf(old[i]) == d {
			shape.Dim = append(shape.Dim, old[i])
			continue
		}
		dim := new(onnxpb.TensorShapeProto_Dimension)
		switch {
		case d.Param != "":
			dim.DimParam = proto.String(d.Param)
		case d.Value >= 0:
			dim.DimValue = proto.Int64(d.Value)
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return pb
}

// properties is from itself where it says the same as ps, else new entries, with those of from that are still there.
func properties(from []*onnxpb.StringStringEntryProto, ps []graph.Property) []*onnxpb.StringStringEntryProto {
	is := func(pb *onnxpb.StringStringEntryProto, p graph.Property) bool {
		return pb.GetKey() == p.Key && pb.GetValue() == p.Value
	}
	if slices.EqualFunc(from, ps, is) {
		return from
	}
	var out []*onnxpb.StringStringEntryProto
	for _, p := range ps {
		i := slices.IndexFunc(from, func(pb *onnxpb.StringStringEntryProto) bool { return is(pb, p) })
		if i >= 0 {
			out = append(out, from[i])
			continue
		}
		out = append(out, &onnxpb.StringStringEntryProto{Key: proto.String(p.Key), Value: proto.String(p.Value)})
	}
	return out
}

func opsets(from []*onnxpb.OperatorSetIdProto, sets []graph.Opset) []*onnxpb.OperatorSetIdProto {
	var out []*onnxpb.OperatorSetIdProto
	for i, s := range sets {
		if i < len(from) && from[i].GetDomain() == s.Domain {
			if from[i].GetVersion() == s.Version {
				out = append(out, from[i])
				continue
			}
			pb := patchOf(from[i]).own()
			pb.Version = proto.Int64(s.Version)
			out = append(out, pb)
			continue
		}
		out = append(out, &onnxpb.OperatorSetIdProto{Domain: proto.String(s.Domain), Version: proto.Int64(s.Version)})
	}
	return out
}

// patch is a message that may still be the one that was read: own makes it a copy, once, before a change.
type patch[T any, M interface {
	*T
	proto.Message
}] struct {
	pb    M
	owned bool
}

// patchOf starts from pb, or from an empty message when there is none.
func patchOf[T any, M interface {
	*T
	proto.Message
}](pb M) *patch[T, M] {
	if pb == nil {
		return &patch[T, M]{pb: M(new(T)), owned: true}
	}
	return &patch[T, M]{pb: pb}
}

// own gives a copy that shares what is inside and keeps unknown fields.
func (p *patch[T, M]) own() M {
	if p.owned {
		return p.pb
	}
	from := p.pb.ProtoReflect()
	to := from.New()
	from.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(fd, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	p.pb, p.owned = to.Interface().(M), true
	return p.pb
}

// patchString sets a string field whose value differs; an absent field and an empty one are the same value.
func patchString[T any, M interface {
	*T
	proto.Message
}](p *patch[T, M], field func(M) **string, want string) {
	if got := *field(p.pb); got == nil && want == "" || got != nil && *got == want {
		return
	}
	setString(field(p.own()), want)
}

func setString(field **string, want string) {
	switch {
	case *field != nil && **field == want, *field == nil && want == "":
	case want == "":
		*field = nil
	default:
		*field = &want
	}
}
