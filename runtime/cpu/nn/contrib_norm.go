package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// Operators of com.microsoft, which ONNX Runtime's optimizer writes: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

// makeSkipLayerNormalization is com.microsoft.SkipLayerNormalization: LayerNormalization over the last axis of input + skip + bias. The sum
// is output 3. simplified leaves out the mean, as RMSNormalization does, and has no beta.
func makeSkipLayerNormalization(simplified bool) kernel.Maker {
	return func(site *kernel.Site) (kernel.Func, error) {
		a := site.Attrs()
		epsilon := a.Float("epsilon", 1e-12)
		if err := a.Done(); err != nil {
			return nil, err
		}
		return func(c *kernel.Call) error {
			return byType(c, 0,
				func(w *work[float32]) error { return skipLayerNormalization(w, epsilon, simplified) },
				func(w *work[float64]) error { return skipLayerNormalization(w, float64(epsilon), simplified) })
		}, nil
	}
}

func skipLayerNormalization[F real](w *work[F], epsilon F, simplified bool) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	st, skip, err := w.in(1)
	if err != nil {
		return err
	}
	rank := len(xt.Shape)
	if rank != 2 && rank != 3 {
		return fmt.Errorf("input 0 has shape %s, want [batch,length,hidden] or [rows,hidden]", kernel.ShapeString(xt.Shape))
	}
	size := xt.Shape[rank-1]
	period := len(skip) // input 1 repeats: it may lack the batch
	shape := st.Shape
	for len(shape) > 2 && shape[0] == 1 {
		shape = shape[1:]
	}
	if !equalShape(st.Shape, xt.Shape) && !equalShape(shape, xt.Shape[rank-2:]) {
		return shapeError(1, st.Shape, xt.Shape)
	}
	gamma, err := w.vector(2, size)
	if err != nil {
		return err
	}
	if gamma == nil {
		return fmt.Errorf("input 2 is missing")
	}
	var beta []F
	at := 3
	if !simplified {
		if beta, err = w.vector(3, size); err != nil {
			return err
		}
		at = 4
	}
	bias, err := w.vector(at, size)
	if err != nil {
		return err
	}
	y, err := w.out(0, xt.DType, xt.Shape)
	if err != nil {
		return err
	}
	total, err := w.outIf(3, xt.DType, xt.Shape)
	if err != nil {
		return err
	}
	statistics := append(append([]int(nil), xt.Shape[:rank-1]...), 1)
	mean, err := w.outIf(1, tensor.Float32, statistics)
	if err != nil {
		return err
	}
	inverse, err := w.outIf(2, tensor.Float32, statistics)
	if err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	w.Pool.For(len(x)/size, max(1, grain/size), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := y[i*size:][:size]
			from, add := x[i*size:][:size], skip[i*size%period:][:size]
			for j, v := range from {
				row[j] = v + add[j]
			}
			if bias != nil {
				addTo(row, bias)
			}
			if total != nil {
				copy(total[i*size:], row)
			}
			var m, inv F
			if simplified {
				inv = rmsRow(row, row, gamma, epsilon)
			} else {
				m, inv = normalizeRow(row, row, gamma, beta, epsilon)
			}
			if mean != nil {
				mean[i] = m
			}
			if inverse != nil {
				inverse[i] = inv
			}
		}
	})
	return nil
}

// makeEmbedLayerNormalization is com.microsoft.EmbedLayerNormalization: the sum of the embeddings of words, positions and segments, and
// LayerNormalization of it. Output 1 is how many tokens of each batch the mask keeps, output 2 the sum.
func makeEmbedLayerNormalization(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	epsilon := a.Float("epsilon", 1e-12)
	a.Int("mask_index_type", 0) // 0: output 1 may be left out
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 2,
			func(w *work[float32]) error { return embedLayerNormalization(w, epsilon) },
			func(w *work[float64]) error { return embedLayerNormalization(w, float64(epsilon)) })
	}, nil
}

// embedding is a table with the rows that are taken from it.
type embedding[F real] struct {
	table []F
	ids   []int64
	every int // ids repeat after so many
}

func embedLayerNormalization[F real](w *work[F], epsilon F) error {
	it, err := w.Tensor(0)
	if err != nil {
		return err
	}
	if len(it.Shape) != 2 {
		return fmt.Errorf("input 0 has shape %s, want [batch,length]", kernel.ShapeString(it.Shape))
	}
	batch, length := it.Shape[0], it.Shape[1]
	wt, err := w.Tensor(2)
	if err != nil {
		return err
	}
	if len(wt.Shape) != 2 {
		return fmt.Errorf("input 2 has shape %s, want [words,hidden]", kernel.ShapeString(wt.Shape))
	}
	size := wt.Shape[1]
	positions := make([]int64, length)
	for i := range positions {
		positions[i] = int64(i)
	}
	var tables []embedding[F]
	for _, e := range []struct {
		table, ids int
		ready      []int64 // where ids are left out
	}{{2, 0, nil}, {3, 8, positions}, {4, 1, nil}} {
		if e.table == 4 && w.Optional(4) == nil {
			continue
		}
		t, v, err := w.in(e.table)
		if err != nil {
			return err
		}
		if len(t.Shape) != 2 || t.Shape[1] != size {
			return fmt.Errorf("input %d has shape %s, want [rows,%d]", e.table, kernel.ShapeString(t.Shape), size)
		}
		ids := e.ready
		if w.Optional(e.ids) != nil || ids == nil {
			if ids, err = w.Ints(e.ids); err != nil {
				return err
			}
			if shape := w.Optional(e.ids).Shape; len(shape) != 2 || shape[1] != length || shape[0] != batch && shape[0] != 1 {
				return shapeError(e.ids, shape, it.Shape)
			}
		}
		for _, id := range ids {
			if id < 0 || id >= int64(t.Shape[0]) {
				return fmt.Errorf("input %d holds %d, want 0 to %d", e.ids, id, t.Shape[0]-1)
			}
		}
		tables = append(tables, embedding[F]{v, ids, len(ids)})
	}
	gamma, err := w.vector(5, size)
	if err != nil {
		return err
	}
	beta, err := w.vector(6, size)
	if err != nil {
		return err
	}
	if gamma == nil || beta == nil {
		return fmt.Errorf("input 5 or 6 is missing")
	}
	shape := []int{batch, length, size}
	y, err := w.out(0, wt.DType, shape)
	if err != nil {
		return err
	}
	total, err := w.outIf(2, wt.DType, shape)
	if err != nil {
		return err
	}
	w.Pool.For(batch*length, max(1, grain/max(1, size)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			row := y[i*size:][:size]
			clear(row)
			for _, e := range tables {
				addTo(row, e.table[int(e.ids[i%e.every])*size:])
			}
			if total != nil {
				copy(total[i*size:], row)
			}
			normalizeRow(row, row, gamma, beta, epsilon)
		}
	})
	if !w.Wants(1) {
		return nil
	}
	return maskIndex(w.Call, batch, length)
}

// maskIndex counts what the mask, input 7, keeps; without a mask all counts are 0, as in ONNX Runtime.
func maskIndex(c *kernel.Call, batch, length int) error {
	t, err := c.New(1, tensor.Int32, []int{batch})
	if err != nil {
		return err
	}
	count := kernel.Of[int32](t)
	clear(count)
	m := c.Optional(7)
	if m == nil {
		return nil
	}
	if err := wantShape(7, m.Shape, batch, length); err != nil {
		return err
	}
	mask, err := c.Ints(7)
	if err != nil {
		return err
	}
	for i, v := range mask {
		if v == 1 {
			count[i/length]++
		}
	}
	return nil
}
