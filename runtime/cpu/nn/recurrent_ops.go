package nn

import "github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"

// makeRNN is RNN: H = f(X·Wᵀ + H·Rᵀ + b).
func makeRNN(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := readRecurrent(a, 1, "Tanh")
	if err := a.Done(); err != nil {
		return nil, err
	}
	return o.pack(site), nil
}

// makeGRU is GRU.
func makeGRU(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := readRecurrent(a, 3, "Sigmoid", "Tanh")
	o.linearBeforeReset = a.Int("linear_before_reset", 0) != 0
	if err := a.Done(); err != nil {
		return nil, err
	}
	return o.pack(site), nil
}

// makeLSTM is LSTM.
func makeLSTM(site *kernel.Site) (kernel.Func, error) {
	a := site.Attrs()
	o := readRecurrent(a, 4, "Sigmoid", "Tanh", "Tanh")
	o.inputForget = a.Int("input_forget", 0) != 0
	if err := a.Done(); err != nil {
		return nil, err
	}
	return o.pack(site), nil
}
