package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
)

// The widths of a small Llama: a layer holds 51.4 million weights, so that a size can be met closely with whole layers.
const (
	hidden       = 2048
	intermediate = 5632
)

type dtype struct {
	name string
	code uint64 // TensorProto.DataType
	size int64  // bytes per element
}

func (d dtype) String() string { return d.name }

func parseDType(s string) (dtype, error) {
	switch s {
	case "bf16":
		return dtype{"bf16", 16, 2}, nil
	case "f32":
		return dtype{"f32", 1, 4}, nil
	}
	return dtype{}, fmt.Errorf("--dtype is %q, want bf16 or f32", s)
}

// linear is one weight [K,N] of a layer, the right operand of a MatMul.
type linear struct {
	name string
	k, n int64
}

var linears = []linear{
	{"self_attn.q_proj", hidden, hidden}, {"self_attn.k_proj", hidden, hidden}, {"self_attn.v_proj", hidden, hidden},
	{"self_attn.o_proj", hidden, hidden}, {"mlp.gate_proj", hidden, intermediate}, {"mlp.up_proj", hidden, intermediate},
	{"mlp.down_proj", intermediate, hidden},
}

// plan is the model to write.
type plan struct {
	layers int
	dtype  dtype
}

func layerElements() (n int64) {
	for _, l := range linears {
		n += l.k * l.n
	}
	return n
}

// planModel is the model whose size is nearest to size, at least one layer.
func planModel(size int64, d dtype) plan {
	per := layerElements() * d.size
	return plan{layers: max(1, int((size+per/2)/per)), dtype: d}
}

func (p plan) bytes() int64 { return int64(p.layers) * layerElements() * p.dtype.size }

const (
	modelFile = "model.onnx"
	dataFile  = "model.onnx.data"
)

// write makes modelFile and dataFile in dir. The weights are written as they are made and never held.
func (p plan) write(ctx context.Context, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, modelFile), p.model(), 0o666); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, dataFile))
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	next := normals(p.dtype)
	for layer := range p.layers {
		for _, l := range linears {
			if err := ctx.Err(); err != nil {
				return err
			}
			// Like a trained model's, the spread falls with the width, and differs from layer to layer.
			spread := float32(1/math.Sqrt(float64(l.k))) * (1 + float32(layer%7)/8)
			for left := l.k * l.n * p.dtype.size; left > 0; {
				chunk := next(spread)
				chunk = chunk[:min(int64(len(chunk)), left)]
				if _, err := w.Write(chunk); err != nil {
					return err
				}
				left -= int64(len(chunk))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// normals makes chunks of normal values with a given standard deviation, little-endian. It draws quantiles of the normal distribution from
// a table of 65,536 with a 64-bit xorshift* generator (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled",
// 2016), four from each number.
func normals(d dtype) func(spread float32) []byte {
	var table [1 << 16]float32
	for i := range table {
		table[i] = float32(math.Sqrt2 * math.Erfinv((2*float64(i)+1)/(1<<16)-1))
	}
	var scaled [1 << 16]uint32
	last := float32(0)
	state := uint64(0x9E3779B97F4A7C15)
	chunk := make([]byte, 1<<16*d.size)
	return func(spread float32) []byte {
		if spread != last {
			for i, v := range table {
				scaled[i] = math.Float32bits(v * spread)
			}
			last = spread
		}
		for i := 0; i < 1<<16; i += 4 {
			state ^= state >> 12
			state ^= state << 25
			state ^= state >> 27
			r := state * 0x2545F4914F6CDD1D
			for j := range 4 {
				bits := scaled[uint16(r>>(16*j))]
				if d.size == 4 {
					binary.LittleEndian.PutUint32(chunk[(i+j)*4:], bits)
				} else {
					// Round to nearest even: the table holds no NaN.
					binary.LittleEndian.PutUint16(chunk[(i+j)*2:], uint16((bits+0x7FFF+bits>>16&1)>>16))
				}
			}
		}
		return chunk
	}
}

// message is a protobuf message under construction. The benchmark writes the format by hand so that it does not measure the tool with
// a file of the tool's own making.
type message []byte

func (m *message) number(field int, v uint64) {
	*m = binary.AppendUvarint(binary.AppendUvarint(*m, uint64(field)<<3), v)
}

func (m *message) text(field int, s string) {
	*m = binary.AppendUvarint(binary.AppendUvarint(*m, uint64(field)<<3|2), uint64(len(s)))
	*m = append(*m, s...)
}

// model is the ModelProto: each layer is x + o(q(x) + k(x) + v(x)), then x + down(gate(x) * up(x)). It is no attention, but has its matrix
// products, at opset 19 and IR version 9. The numbers of the fields are those of onnx.proto.
func (p plan) model() []byte {
	var graph message
	x := "x"
	node := func(op, name, out string, in ...string) string {
		var n message
		for _, i := range in {
			n.text(1, i)
		}
		n.text(2, out)
		n.text(3, name)
		n.text(4, op)
		graph.text(1, string(n))
		return out
	}
	for layer := range p.layers {
		at := fmt.Sprintf("model.layers.%d.", layer)
		product := func(name, in string) string { return node("MatMul", at+name, at+name+".out", in, at+name+".weight") }
		qk := node("Add", at+"qk", at+"qk.out", product("self_attn.q_proj", x), product("self_attn.k_proj", x))
		qkv := node("Add", at+"qkv", at+"qkv.out", qk, product("self_attn.v_proj", x))
		x = node("Add", at+"attn", at+"attn.out", x, product("self_attn.o_proj", qkv))
		gated := node("Mul", at+"gated", at+"gated.out", product("mlp.gate_proj", x), product("mlp.up_proj", x))
		x = node("Add", at+"mlp", at+"mlp.out", x, product("mlp.down_proj", gated))
	}
	graph.text(2, "bench")
	offset := int64(0)
	for layer := range p.layers {
		for _, l := range linears {
			var t message
			t.number(1, uint64(l.k))
			t.number(1, uint64(l.n))
			t.number(2, p.dtype.code)
			t.text(8, fmt.Sprintf("model.layers.%d.%s.weight", layer, l.name))
			length := l.k * l.n * p.dtype.size
			for _, kv := range [][2]string{{"location", dataFile}, {"offset", strconv.FormatInt(offset, 10)}, {"length", strconv.FormatInt(length, 10)}} {
				var entry message
				entry.text(1, kv[0])
				entry.text(2, kv[1])
				t.text(13, string(entry))
			}
			t.number(14, 1) // data_location: EXTERNAL
			graph.text(5, string(t))
			offset += length
		}
	}
	graph.text(11, string(p.value("x")))
	graph.text(12, string(p.value(x)))
	var opset, model message
	opset.text(1, "")
	opset.number(2, 19)
	model.number(1, 9)
	model.text(2, "fp8rewrite bench/convert")
	model.text(7, string(graph))
	model.text(8, string(opset))
	return model
}

// value is a ValueInfoProto of shape [batch, seq, hidden].
func (p plan) value(name string) message {
	var shape, tensor, typ, v message
	for _, param := range []string{"batch", "seq"} {
		var dim message
		dim.text(2, param)
		shape.text(1, string(dim))
	}
	var dim message
	dim.number(1, hidden)
	shape.text(1, string(dim))
	tensor.number(1, p.dtype.code)
	tensor.text(2, string(shape))
	typ.text(1, string(tensor))
	v.text(1, name)
	v.text(2, string(typ))
	return v
}
