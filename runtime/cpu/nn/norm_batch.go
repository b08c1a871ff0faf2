package nn

import (
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// batchNorm is the attributes of BatchNormalization.
type batchNorm struct {
	epsilon, momentum float32
	training          bool
	perElement        bool // opset 7 with spatial=0: statistics for every element of an image instead of for every channel
	saved             bool // outputs 3 and 4 are the batch's own statistics (before opset 14)
}

// makeBatchNormalization is BatchNormalization: y = (x-mean)/√(var+ε)·scale + bias, with the statistics given, or in training with those of
// the batch. Before opset 14 a node trains where it has more outputs than y.
func makeBatchNormalization(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := batchNorm{epsilon: a.Float("epsilon", 1e-5), momentum: a.Float("momentum", 0.9)}
	if site.Opset >= 14 {
		o.training = a.Bit("training_mode", false)
	} else {
		for _, name := range site.Node.Outputs[min(1, len(site.Node.Outputs)):] {
			o.training = o.training || name != ""
		}
		o.saved = o.training
	}
	if site.Opset < 9 {
		o.perElement = !a.Bit("spatial", true)
		if o.perElement && o.training {
			a.Fail("training with spatial=0")
		}
	}
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return batchNormalization(w, &o) },
			func(w *work[float64]) error { return batchNormalization(w, &o) })
	}, nil
}

func batchNormalization[F real](w *work[F], o *batchNorm) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	if len(xt.Shape) == 0 {
		return fmt.Errorf("input 0 is a scalar, want [batch,channels,spatial...]")
	}
	channels, area := 1, 1
	want := []int{1}
	if len(xt.Shape) > 1 {
		channels, area = xt.Shape[1], kernel.Count(xt.Shape[2:])
		want[0] = channels
		if o.perElement {
			channels, area = channels*area, 1
			want = xt.Shape[1:]
		}
	}
	var p [5][]F
	for i := 1; i < 5; i++ {
		if p[i], err = w.shaped(i, want...); err != nil {
			return err
		}
		if w.Optional(i) == nil {
			return fmt.Errorf("input %d is missing", i)
		}
	}
	scale, bias, mean, variance := p[1], p[2], p[3], p[4]
	y, err := w.out(0, xt.DType, xt.Shape)
	if err != nil {
		return err
	}
	batch := xt.Shape[0]
	if o.training {
		if mean, variance, err = batchStatistics(w, o, x, mean, variance, batch, channels, area); err != nil {
			return err
		}
	}
	factor, shift := make([]F, channels), make([]F, channels)
	for i := range factor {
		factor[i] = scale[i] / F(math.Sqrt(float64(variance[i])+float64(o.epsilon)))
		shift[i] = bias[i] - F(mean[i]*factor[i])
	}
	const piece = 4096 // stays in cache from the first operation to the second
	w.Pool.For(batch*channels, max(1, grain/max(1, area)), func(from, to int) {
		for job := from; job < to; job++ {
			f, s := factor[job%channels], shift[job%channels]
			for at := job * area; at < (job+1)*area; at += piece {
				n := min(piece, (job+1)*area-at)
				scaleTo(y[at:][:n], x[at:][:n], f)
				shiftTo(y[at:][:n], y[at:][:n], s)
			}
		}
	})
	return nil
}

// batchStatistics are the mean and the (biased) variance of every channel; the running ones move towards them as outputs 1 and 2.
func batchStatistics[F real](w *work[F], o *batchNorm, x, oldMean, oldVar []F, batch, channels, area int) (mean, variance []F, err error) {
	mean, variance = make([]F, channels), make([]F, channels)
	w.Pool.For(channels, max(1, grain/max(1, batch*area)), func(from, to int) {
		for ch := from; ch < to; ch++ {
			total, n := 0.0, float64(batch*area)
			for b := range batch {
				for _, v := range x[(b*channels+ch)*area:][:area] {
					total += float64(v)
				}
			}
			m := total / n
			total = 0
			for b := range batch {
				for _, v := range x[(b*channels+ch)*area:][:area] {
					total += (float64(v) - m) * (float64(v) - m)
				}
			}
			mean[ch], variance[ch] = F(m), F(total/n)
		}
	})
	for i, pair := range [][2][]F{1: {oldMean, mean}, 2: {oldVar, variance}} {
		if i == 0 {
			continue
		}
		t, err := w.Tensor(2 + i)
		if err != nil {
			return nil, nil, err
		}
		run, err := w.outIf(i, t.DType, []int{channels})
		if err != nil {
			return nil, nil, err
		}
		m := F(o.momentum)
		for j := range run {
			run[j] = F(pair[0][j]*m) + F(pair[1][j]*(1-m))
		}
		if !o.saved {
			continue
		}
		saved, err := w.outIf(2+i, t.DType, []int{channels})
		if err != nil {
			return nil, nil, err
		}
		copy(saved, pair[1])
	}
	return mean, variance, nil
}
