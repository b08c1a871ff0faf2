package linear

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// plan is a product of stacks of matrices under numpy's rules: the last two axes multiply, those before broadcast, a vector on the left is a
// row, one on the right a column.
type plan struct {
	batch, m, n, k   int
	aOff, bOff, cOff []int // of each matrix of the batch, in elements
	shape            []int // of the result
	vectorA, vectorB bool
	aBatch, bBatch   []int
}

// planProduct reads the shapes of the operands.
func planProduct(a, b []int) (*plan, error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, fmt.Errorf("shapes %s and %s: a scalar has no matrix product", kernel.ShapeString(a), kernel.ShapeString(b))
	}
	p := &plan{vectorA: len(a) == 1, vectorB: len(b) == 1, m: 1, n: 1}
	if !p.vectorA {
		p.m, p.aBatch = a[len(a)-2], a[:len(a)-2]
	}
	kb := b[0]
	if !p.vectorB {
		p.n, p.bBatch, kb = b[len(b)-1], b[:len(b)-2], b[len(b)-2]
	}
	if p.k = a[len(a)-1]; p.k != kb {
		return nil, fmt.Errorf("shapes %s and %s: %d columns meet %d rows", kernel.ShapeString(a), kernel.ShapeString(b), p.k, kb)
	}
	batch, err := kernel.Broadcast(p.aBatch, p.bBatch)
	if err != nil {
		return nil, fmt.Errorf("shapes %s and %s: %w", kernel.ShapeString(a), kernel.ShapeString(b), err)
	}
	p.shape = append(p.shape, batch...)
	if !p.vectorA {
		p.shape = append(p.shape, p.m)
	}
	if !p.vectorB {
		p.shape = append(p.shape, p.n)
	}
	p.batch = kernel.Count(batch)
	if kernel.Count(p.bBatch) == 1 && p.batch > 0 {
		// One matrix on the right: the rows of all those on the left are one matrix.
		p.m, p.batch = p.m*p.batch, 1
	}
	if p.batch <= 1 {
		p.aOff, p.bOff, p.cOff = []int{0}, []int{0}, []int{0}
		return p, nil
	}
	p.aOff, p.bOff = offsets(p.aBatch, batch, p.m*p.k), offsets(p.bBatch, batch, p.k*p.n)
	p.cOff = make([]int, p.batch)
	for i := range p.cOff {
		p.cOff[i] = i * p.m * p.n
	}
	return p, nil
}

// offsets are where the matrices of size elements begin, of a stack of shape in that broadcasts to out.
func offsets(in, out []int, size int) []int {
	strides := kernel.BroadcastStrides(in, out)
	v := make([]int, 0, kernel.Count(out))
	index := make([]int, len(out))
	at := 0
	for range cap(v) {
		v = append(v, at*size)
		for axis := len(out) - 1; axis >= 0; axis-- {
			index[axis]++
			at += strides[axis]
			if index[axis] < out[axis] {
				break
			}
			at -= strides[axis] * out[axis]
			index[axis] = 0
		}
	}
	return v
}
