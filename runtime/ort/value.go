package ort

import (
	"fmt"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Everything that goes in and comes out is copied: ONNX Runtime never sees Go's memory for longer than a call, and what Run returned
// does not end with the session.

// newValue makes an OrtValue of v, which the caller releases.
func (l *library) newValue(v runtime.Value) (uintptr, error) {
	switch v.Kind {
	case runtime.TensorValue:
		return l.newTensor(v.Tensor)
	case runtime.SequenceValue:
		return l.newSequence(v.Items)
	case runtime.OptionalValue:
		// An optional that holds something is, to ONNX Runtime, the thing itself.
		if len(v.Items) == 1 {
			return l.newValue(v.Items[0])
		}
		return 0, fmt.Errorf("ort: an optional that holds nothing cannot be given to ONNX Runtime")
	}
	return 0, fmt.Errorf("ort: value of kind %d", v.Kind)
}

func (l *library) newTensor(t *tensor.Tensor) (uintptr, error) {
	n, err := t.Shape.Elements()
	if err != nil {
		return 0, err
	}
	// One more, so that there is an address for a scalar.
	shape := append(t.Shape.Clone(), 0)
	var out uintptr
	err = l.call(fnCreateTensor, l.allocator, uintptr(unsafe.Pointer(&shape[0])), uintptr(len(t.Shape)), uintptr(t.DType), uintptr(unsafe.Pointer(&out)))
	if err != nil {
		return 0, err
	}
	if t.DType == tensor.String {
		err = l.fillStrings(out, t.Strings, n)
	} else {
		err = l.fill(out, t, n)
	}
	if err != nil {
		l.release(fnReleaseValue, out)
		return 0, err
	}
	return out, nil
}

// fill copies the content of t, which has n elements, into a tensor of the same type and shape.
func (l *library) fill(value uintptr, t *tensor.Tensor, n int64) error {
	b, err := t.Bytes()
	if err != nil {
		return err
	}
	size, err := t.DType.ByteSize(n)
	if err != nil {
		return err
	}
	if int64(len(b)) != size {
		return fmt.Errorf("ort: tensor of %s %s has %d bytes, want %d", t.DType, t.Shape, len(b), size)
	}
	if size == 0 {
		return nil
	}
	var data uintptr
	if err := l.call(fnGetTensorData, value, uintptr(unsafe.Pointer(&data))); err != nil {
		return err
	}
	copy(unsafe.Slice((*byte)(dynlib.At(data)), size), b)
	return nil
}

func (l *library) fillStrings(value uintptr, s [][]byte, n int64) error {
	if int64(len(s)) != n {
		return fmt.Errorf("ort: string tensor has %d elements, want %d", len(s), n)
	}
	for i, b := range s {
		var data uintptr
		if err := l.call(fnResizeString, value, uintptr(i), uintptr(len(b)), uintptr(unsafe.Pointer(&data))); err != nil {
			return err
		}
		if len(b) > 0 {
			copy(unsafe.Slice((*byte)(dynlib.At(data)), len(b)), b)
		}
	}
	return nil
}

func (l *library) newSequence(items []runtime.Value) (uintptr, error) {
	if len(items) == 0 {
		return 0, fmt.Errorf("ort: a sequence without elements cannot be given to ONNX Runtime, which does not know the element type then")
	}
	values := make([]uintptr, 0, len(items))
	// The sequence holds its elements itself, so the handles go in any case.
	defer func() {
		for _, v := range values {
			l.release(fnReleaseValue, v)
		}
	}()
	for _, item := range items {
		v, err := l.newValue(item)
		if err != nil {
			return 0, err
		}
		values = append(values, v)
	}
	var out uintptr
	err := l.call(fnCreateValue, uintptr(unsafe.Pointer(&values[0])), uintptr(len(values)), valueSequence, uintptr(unsafe.Pointer(&out)))
	return out, err
}

// readValue copies an OrtValue, which was declared to be of type declared (nil where that is not known).
func (l *library) readValue(value uintptr, declared *graph.Type) (runtime.Value, error) {
	if declared != nil && declared.Kind == graph.OptionalKind {
		var has int32
		if err := l.call(fnHasValue, value, uintptr(unsafe.Pointer(&has))); err != nil {
			return runtime.Value{}, err
		}
		out := runtime.Value{Kind: runtime.OptionalValue}
		if has == 0 {
			return out, nil
		}
		item, err := l.readValue(value, declared.Elem)
		out.Items = []runtime.Value{item}
		return out, err
	}
	var kind int32
	if err := l.call(fnGetValueType, value, uintptr(unsafe.Pointer(&kind))); err != nil {
		return runtime.Value{}, err
	}
	switch kind {
	case valueTensor:
		t, err := l.readTensor(value)
		return runtime.FromTensor(t), err
	case valueSequence:
		return l.readSequence(value)
	}
	return runtime.Value{}, fmt.Errorf("ort: a value of ONNX Runtime's kind %d, want a tensor or a sequence", kind)
}

func (l *library) readSequence(value uintptr) (runtime.Value, error) {
	out := runtime.Value{Kind: runtime.SequenceValue}
	var n uint64
	if err := l.call(fnGetValueCount, value, uintptr(unsafe.Pointer(&n))); err != nil {
		return out, err
	}
	for i := range n {
		var element uintptr
		if err := l.call(fnGetValue, value, uintptr(i), l.allocator, uintptr(unsafe.Pointer(&element))); err != nil {
			return out, err
		}
		item, err := l.readValue(element, nil)
		l.release(fnReleaseValue, element)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

func (l *library) readTensor(value uintptr) (*tensor.Tensor, error) {
	var info uintptr
	if err := l.call(fnGetTypeAndShape, value, uintptr(unsafe.Pointer(&info))); err != nil {
		return nil, err
	}
	defer l.release(fnReleaseTypeAndShape, info)
	var dtype int32
	if err := l.call(fnGetElementType, info, uintptr(unsafe.Pointer(&dtype))); err != nil {
		return nil, err
	}
	var rank uint64
	if err := l.call(fnGetDimensionsCount, info, uintptr(unsafe.Pointer(&rank))); err != nil {
		return nil, err
	}
	shape := make(tensor.Shape, rank+1)
	if err := l.call(fnGetDimensions, info, uintptr(unsafe.Pointer(&shape[0])), uintptr(rank)); err != nil {
		return nil, err
	}
	shape = shape[:rank:rank]
	n, err := shape.Elements()
	if err != nil {
		return nil, err
	}
	if tensor.DType(dtype) == tensor.String {
		s, err := l.readStrings(value, n)
		return &tensor.Tensor{DType: tensor.String, Shape: shape, Strings: s}, err
	}
	size, err := tensor.DType(dtype).ByteSize(n)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if size > 0 {
		var data uintptr
		if err := l.call(fnGetTensorData, value, uintptr(unsafe.Pointer(&data))); err != nil {
			return nil, err
		}
		copy(b, unsafe.Slice((*byte)(dynlib.At(data)), size))
	}
	return tensor.New(tensor.DType(dtype), shape, tensor.Bytes(b))
}

func (l *library) readStrings(value uintptr, n int64) ([][]byte, error) {
	if n == 0 {
		return nil, nil
	}
	var total uint64
	if err := l.call(fnGetStringsLength, value, uintptr(unsafe.Pointer(&total))); err != nil {
		return nil, err
	}
	b := make([]byte, total+1)
	starts := make([]uint64, n)
	err := l.call(fnGetStrings, value, uintptr(unsafe.Pointer(&b[0])), uintptr(total), uintptr(unsafe.Pointer(&starts[0])), uintptr(n))
	if err != nil {
		return nil, err
	}
	out := make([][]byte, n)
	for i := range out {
		end := total
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		if starts[i] > end || end > total {
			return nil, fmt.Errorf("ort: string %d from %d to %d of %d", i, starts[i], end, total)
		}
		out[i] = b[starts[i]:end:end]
	}
	return out, nil
}
