package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// parseShape reads NAME=2x4096x4096; NAME= alone is a scalar.
func parseShape(text string) (name string, shape tensor.Shape, err error) {
	name, sizes, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return "", nil, fmt.Errorf("got %q, want NAME=2x4096x4096", text)
	}
	shape = tensor.Shape{}
	if sizes == "" {
		return name, shape, nil
	}
	for part := range strings.SplitSeq(sizes, "x") {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n < 1 {
			return "", nil, fmt.Errorf("got %q, want sizes of 1 or more, as in NAME=2x4096x4096", text)
		}
		shape = append(shape, n)
	}
	return name, shape, nil
}

// randomInputs are inputs for m of the declared types: normal values, indices that a Gather of a constant can take, else 0 and 1. texts
// are the --shape flags; a size with a name that one input has holds for the others.
func randomInputs(m *graph.Model, texts []string) (map[string]*tensor.Tensor, error) {
	inputs := required(m)
	given := map[string]tensor.Shape{}
	for _, text := range texts {
		name, shape, err := parseShape(text)
		if err != nil {
			return nil, err
		}
		if !hasInput(inputs, name) {
			return nil, hint(fmt.Errorf("--shape %q: the model has no input %q", text, name), "it has %s", inputNames(inputs))
		}
		given[name] = shape
	}
	shapes, err := bindShapes(inputs, given)
	if err != nil {
		return nil, err
	}
	limits := indexLimits(m)
	r := rand.New(rand.NewPCG(1, 2))
	out := map[string]*tensor.Tensor{}
	for _, v := range inputs {
		t, err := randomTensor(r, v.Type.DType, shapes[v.Name], limits[v.Name])
		if err != nil {
			return nil, hint(fmt.Errorf("input %q: %w", v.Name, err), "--data BATCHES.npz gives the inputs")
		}
		out[v.Name] = t
	}
	return out, nil
}

// bindShapes fixes the shapes of the inputs.
func bindShapes(inputs []*graph.Value, given map[string]tensor.Shape) (map[string]tensor.Shape, error) {
	shapes := map[string]tensor.Shape{}
	sizes := map[string]int64{}
	from := map[string]string{}
	for _, v := range inputs {
		if v.Type == nil || v.Type.Kind != graph.TensorKind {
			return nil, hint(fmt.Errorf("input %q: not a tensor, and random inputs are", v.Name), "--data BATCHES.npz")
		}
		shape, ok := given[v.Name]
		if !ok || !v.Type.HasShape {
			continue
		}
		if len(shape) != len(v.Type.Shape) {
			return nil, fmt.Errorf("--shape %s: got %v, and the input has %d dimensions", v.Name, shape, len(v.Type.Shape))
		}
		for i, d := range v.Type.Shape {
			switch {
			case d.Value >= 0 && d.Value != shape[i]:
				return nil, fmt.Errorf("--shape %s: got %v, and the model fixes dimension %d to %d", v.Name, shape, i, d.Value)
			case d.Value >= 0 || d.Param == "":
			case from[d.Param] != "" && sizes[d.Param] != shape[i]:
				return nil, fmt.Errorf("--shape %s: got %v, and %q is %d in --shape %s", v.Name, shape, d.Param, sizes[d.Param], from[d.Param])
			default:
				sizes[d.Param], from[d.Param] = shape[i], v.Name
			}
		}
	}
	var missing []string
	for _, v := range inputs {
		if shape, ok := given[v.Name]; ok {
			shapes[v.Name] = shape
			continue
		}
		shape, open := tensor.Shape{}, !v.Type.HasShape
		example := make([]string, len(v.Type.Shape))
		for i, d := range v.Type.Shape {
			n := d.Value
			if n < 0 {
				n = sizes[d.Param]
			}
			example[i] = strconv.FormatInt(n, 10)
			if n <= 0 {
				open, example[i] = true, "8"
			}
			shape = append(shape, n)
		}
		if open {
			missing = append(missing, "--shape "+shellWord(v.Name+"="+strings.Join(example, "x")))
		}
		shapes[v.Name] = shape
	}
	if len(missing) > 0 {
		return nil, hint(usageError{errors.New("bench: the model leaves sizes of its inputs open")}, "%s, or --data BATCHES.npz", strings.Join(missing, " "))
	}
	return shapes, nil
}

// indexLimits finds inputs that index a constant: the extent of the axis that they index.
func indexLimits(m *graph.Model) map[string]int64 {
	constants := map[string]*tensor.Tensor{}
	for _, i := range m.Graph.Initializers {
		constants[i.Name] = i.Tensor
	}
	limits := map[string]int64{}
	for _, n := range m.Graph.Nodes {
		if n.OpType != "Gather" || n.Domain != "" || len(n.Inputs) != 2 {
			continue
		}
		table := constants[n.Inputs[0]]
		if table == nil || len(table.Shape) == 0 {
			continue
		}
		axis := n.AttrInt("axis", 0)
		if axis < 0 {
			axis += int64(len(table.Shape))
		}
		if axis < 0 || axis >= int64(len(table.Shape)) {
			continue
		}
		if old, ok := limits[n.Inputs[1]]; !ok || table.Shape[axis] < old {
			limits[n.Inputs[1]] = table.Shape[axis]
		}
	}
	return limits
}

// most elements of a random input: it is made in memory.
const mostRandom = 1 << 32

// randomTensor is a tensor of the type; limit bounds integers, 0 means 2.
func randomTensor(r *rand.Rand, d tensor.DType, shape tensor.Shape, limit int64) (*tensor.Tensor, error) {
	n, err := shape.Elements()
	if err != nil {
		return nil, err
	}
	if n > mostRandom {
		return nil, fmt.Errorf("%d elements, and random inputs have at most %d", n, int64(mostRandom))
	}
	if limit <= 0 {
		limit = 2
	}
	bytes, err := d.ByteSize(n)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, bytes)
	for range n {
		switch d {
		case tensor.Float32:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(r.NormFloat64())))
		case tensor.BFloat16:
			data = binary.LittleEndian.AppendUint16(data, uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
		case tensor.Float16:
			// Sign, an exponent for 1/4 to 2, and random bits: about as large as normal values.
			data = binary.LittleEndian.AppendUint16(data, uint16(r.Uint32())&0x83ff|uint16(13+r.IntN(3))<<10)
		case tensor.Float64:
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(r.NormFloat64()))
		case tensor.Bool:
			data = append(data, byte(r.IntN(2)))
		case tensor.Int8, tensor.Uint8:
			data = append(data, byte(r.Int64N(min(limit, 128))))
		case tensor.Int16, tensor.Uint16:
			data = binary.LittleEndian.AppendUint16(data, uint16(r.Int64N(min(limit, 1<<15))))
		case tensor.Int32, tensor.Uint32:
			data = binary.LittleEndian.AppendUint32(data, uint32(r.Int64N(min(limit, 1<<31))))
		case tensor.Int64, tensor.Uint64:
			data = binary.LittleEndian.AppendUint64(data, uint64(r.Int64N(limit)))
		default:
			return nil, fmt.Errorf("there are no random values of type %s", d)
		}
	}
	return tensor.New(d, slices.Clone(shape), tensor.Bytes(data))
}
