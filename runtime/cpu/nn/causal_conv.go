package nn

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// makeCausalConvWithState is CausalConvWithState: a depthwise convolution along time that sees only what was before. The last taps-1
// inputs are the state that the next call goes on from.
func makeCausalConvWithState(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	silu := a.Word("activation", "none", "none", "silu", "swish") != "none"
	if err := a.Done(); err != nil {
		return nil, err
	}
	return func(c *kernel.Call) error {
		return byType(c, 0,
			func(w *work[float32]) error { return causalConv(w, silu) },
			func(w *work[float64]) error { return causalConv(w, silu) })
	}, nil
}

func causalConv[F real](w *work[F], silu bool) error {
	xt, x, err := w.in(0)
	if err != nil {
		return err
	}
	wt, weight, err := w.in(1)
	if err != nil {
		return err
	}
	if len(xt.Shape) != 3 {
		return fmt.Errorf("input 0 has shape %s, want [batch,channels,length]", kernel.ShapeString(xt.Shape))
	}
	batch, channels, length := xt.Shape[0], xt.Shape[1], xt.Shape[2]
	if len(wt.Shape) != 3 || wt.Shape[0] != channels || wt.Shape[1] != 1 || wt.Shape[2] < 1 {
		return fmt.Errorf("input 1 has shape %s, want [%d,1,taps]", kernel.ShapeString(wt.Shape), channels)
	}
	taps := wt.Shape[2]
	bias, err := w.vector(2, channels)
	if err != nil {
		return err
	}
	past, err := w.shaped(3, batch, channels, taps-1)
	if err != nil {
		return err
	}
	y, err := w.out(0, xt.DType, xt.Shape)
	if err != nil {
		return err
	}
	state, err := w.outIf(1, xt.DType, []int{batch, channels, taps - 1})
	if err != nil {
		return err
	}
	w.Pool.For(batch*channels, max(1, grain/max(1, (length+taps)*taps)), func(lo, hi int) {
		padded := make([]F, taps-1+length)
		for i := lo; i < hi; i++ {
			if past != nil {
				copy(padded, past[i*(taps-1):][:taps-1])
			}
			copy(padded[taps-1:], x[i*length:][:length])
			if state != nil {
				copy(state[i*(taps-1):][:taps-1], padded[length:])
			}
			out := y[i*length:][:length]
			v := F(0)
			if bias != nil {
				v = bias[i%channels]
			}
			for j := range out {
				out[j] = v
			}
			for k, f := range weight[i%channels*taps:][:taps] {
				addTap(out, padded[k:], f)
			}
			if silu {
				gate := append([]F(nil), out...)
				sigmoid(gate)
				multiplyBy(out, gate)
			}
		}
	})
	return nil
}
