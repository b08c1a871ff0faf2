package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// loss is the attributes of both losses.
type loss struct {
	reduction  string
	ignore     int64
	hasIgnore  bool
	logSoftmax bool // SoftmaxCrossEntropyLoss: the input is scores, not logarithms of probabilities
}

func makeLoss(site *kernel.Site, logSoftmax bool) (kernel.Func, error) {
	a := site.Attrs()
	o := loss{reduction: a.Word("reduction", "mean", "mean", "sum", "none"), ignore: a.Int("ignore_index", 0),
		hasIgnore: site.Node.Attr("ignore_index") != nil, logSoftmax: logSoftmax}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return computeLoss(w, &o) },
			func(w *work[float64]) error { return computeLoss(w, &o) })
	}, nil
}

// makeNegativeLogLikelihoodLoss is NegativeLogLikelihoodLoss: -x[n, target[n,d], d]·weight[target[n,d]], reduced; the mean is that over the
// weights.
func makeNegativeLogLikelihoodLoss(site *kernel.Site) (kernel.Func, error) {
	return makeLoss(site, false)
}

// makeSoftmaxCrossEntropyLoss is SoftmaxCrossEntropyLoss: the same of the logarithm of softmax over axis 1, which is output 1.
func makeSoftmaxCrossEntropyLoss(site *kernel.Site) (kernel.Func, error) {
	return makeLoss(site, true)
}

func computeLoss[F real](w *work[F], o *loss) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	if len(xt.Shape) < 2 {
		return fmt.Errorf("input 0 has shape %s, want [batch,classes,...]", kernel.ShapeString(xt.Shape))
	}
	batch, classes, size := xt.Shape[0], xt.Shape[1], kernel.Count(xt.Shape[2:])
	shape := append([]int{batch}, xt.Shape[2:]...)
	target, err := classIndices(w.Call, shape)
	if err != nil {
		return err
	}
	weight, err := w.vector(2, classes)
	if err != nil {
		return err
	}
	if o.logSoftmax {
		var logs []F
		if logs, err = w.outIf(1, xt.DType, xt.Shape); err == nil && logs == nil {
			logs, err = w.temp(len(x))
		}
		if err != nil {
			return err
		}
		logSoftmaxColumns(w.Pool, logs, x, batch, classes, size)
		x = logs
	}
	var each []F
	if o.reduction == "none" {
		each, err = w.out(0, xt.DType, shape)
	} else {
		each, err = w.temp(len(target))
	}
	if err != nil {
		return err
	}
	total, weights := 0.0, 0.0
	for i, t := range target {
		each[i] = 0
		if o.hasIgnore && t == o.ignore {
			continue
		}
		if t < 0 || t >= int64(classes) {
			return fmt.Errorf("input 1 holds the class %d, want 0 to %d", t, classes-1)
		}
		f := F(1)
		if weight != nil {
			f = weight[t]
		}
		each[i] = -x[(i/size*classes+int(t))*size+i%size] * f
		total += float64(each[i])
		weights += float64(f)
	}
	if o.reduction == "none" {
		return nil
	}
	y, err := w.out(0, xt.DType, []int{})
	if err != nil {
		return err
	}
	if o.reduction == "mean" {
		total /= weights
	}
	y[0] = F(total)
	return nil
}

// classIndices is input 1, which must have this shape.
func classIndices(c *kernel.Call, shape []int) ([]int64, error) {
	t, err := c.Tensor(1)
	if err != nil {
		return nil, err
	}
	if !equalShape(t.Shape, shape) {
		return nil, shapeError(1, t.Shape, shape)
	}
	if t.DType == tensor.Int64 {
		return kernel.Of[int64](t), nil
	}
	return c.Ints(1)
}

// logSoftmaxColumns writes x - max - log Σ exp(x-max) over the classes.
func logSoftmaxColumns[F real](p *kernel.Pool, y, x []F, batch, classes, size int) {
	p.For(batch*size, max(1, grain/max(1, classes)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			first := i/size*classes*size + i%size
			top := math.Inf(-1)
			for c := range classes {
				top = max(top, float64(x[first+c*size]))
			}
			total := 0.0
			for c := range classes {
				total += math.Exp(float64(x[first+c*size]) - top)
			}
			log := math.Log(total) + top
			for c := range classes {
				y[first+c*size] = F(float64(x[first+c*size]) - log)
			}
		}
	})
}
