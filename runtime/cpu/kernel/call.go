package kernel

import (
	"context"
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Maker prepares the operator for one node, once per session: it reads the attributes, and may compute from constant inputs what every
// run needs. An attribute that makes no sense, or that the operator does not know, is an error here.
type Maker func(*Site) (Func, error)

// Func computes a node's outputs from its inputs. It must not keep values beyond the call.
type Func func(*Call) error

// Table maps an operator to its Maker: "Add" for ONNX's own domain, "com.microsoft.Gelu" for another.
type Table map[string]Maker

// Site is the place of a node in a model.
type Site struct {
	Node  *graph.Node // attributes are values: references to a function's attributes are resolved
	Opset int64       // version of the node's domain
	// Constant is the input at i where its content never changes during the session, else nil.
	Constant func(i int) *Tensor
	// MayPack says whether memory allows to hold so many bytes more for this node over the whole session, and counts them if so.
	MayPack func(bytes int64) bool
}

// Call is one execution of a node.
type Call struct {
	Ctx  context.Context
	Pool *Pool
	Mem  *Arena
	In   []Value // as many as the node names; nil where left out
	Out  []Value // as many as the node names; to be filled, at least where Wants
	// Wanted is false for an output that has no name or that nobody reads.
	Wanted []bool
	// Dies is true for an input that nobody reads after this node.
	Dies []bool
}

// Wants reports whether the output at i is to be computed.
func (c *Call) Wants(i int) bool { return i < len(c.Wanted) && c.Wanted[i] }

// Tensor is the input at i, which must be there and be a tensor.
func (c *Call) Tensor(i int) (*Tensor, error) {
	if i >= len(c.In) || c.In[i] == nil {
		return nil, fmt.Errorf("input %d is missing", i)
	}
	t, ok := c.In[i].(*Tensor)
	if !ok {
		return nil, fmt.Errorf("input %d is not a tensor", i)
	}
	return t, nil
}

// Optional is the input at i, nil where it is left out or not a tensor.
func (c *Call) Optional(i int) *Tensor {
	if i >= len(c.In) {
		return nil
	}
	t, _ := c.In[i].(*Tensor)
	return t
}

// Ints is the input at i as integers; it must be int32 or int64. There are few: shapes, axes, pads.
func (c *Call) Ints(i int) ([]int64, error) {
	t, err := c.Tensor(i)
	if err != nil {
		return nil, err
	}
	switch t.DType {
	case tensor.Int64:
		return append([]int64(nil), Of[int64](t)...), nil
	case tensor.Int32:
		v := make([]int64, t.Len())
		for j, x := range Of[int32](t) {
			v[j] = int64(x)
		}
		return v, nil
	}
	return nil, fmt.Errorf("input %d is %s, want int64", i, t.DType)
}

// New makes the output at i, whose content is then to be written in full. shape is kept.
func (c *Call) New(i int, d tensor.DType, shape []int) (*Tensor, error) {
	t, err := c.Mem.New(d, shape)
	if err != nil {
		return nil, err
	}
	if i < len(c.Out) {
		c.Out[i] = t
	}
	return t, nil
}

// Reuse makes the output at i like New, in the memory of the input at in where nobody else needs it and the sizes are equal. Then
// output and input are the same bytes, so element j may only be written after it was read.
func (c *Call) Reuse(i, in int, d tensor.DType, shape []int) (*Tensor, error) {
	t, ok := c.In[in].(*Tensor)
	if ok && in < len(c.Dies) && c.Dies[in] && t.Sole() && ElemSize(t.DType) == ElemSize(d) && t.Len() == Count(shape) && i < len(c.Out) {
		Retain(t)
		out := &Tensor{DType: d, Shape: shape, Bytes: t.Bytes, buf: t.buf}
		c.Out[i] = out
		return out, nil
	}
	return c.New(i, d, shape)
}

// View makes the output at i the bytes of in under another shape.
func (c *Call) View(i int, in *Tensor, shape []int) {
	if i < len(c.Out) {
		c.Out[i] = in.Reshape(shape)
	}
}

// Scratch is memory for the duration of the call; give it to Release when done.
func (c *Call) Scratch(d tensor.DType, n int) (*Tensor, error) { return c.Mem.New(d, []int{n}) }
