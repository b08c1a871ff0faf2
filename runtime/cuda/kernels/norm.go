package kernels

import "github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"

// Norm is a normalization of rows×cols values of type T (F32 or BF16).
type Norm struct {
	T                    Type
	Center               bool // LayerNorm; else RMSNorm
	X, Residual          driver.Ptr
	Sum, Y               driver.Ptr // x + residual, and the result; either may be 0
	Codes                Codes
	Weight, Bias         driver.Ptr // cols values each; either may be 0
	WeightType, BiasType Type       // F32, F16 or BF16
	Rows, Cols           int64
	Epsilon              float32
}

// Normalize computes y = (h - mean)/sqrt(var + epsilon)·weight + bias of h = x + residual, rounded to its type; without Center the mean
// is 0 and the variance the mean square. The weight and the bias are rounded to the type. Without Center so is what the weight scales, as in
// ONNX's RMSNormalization and in the models of Hugging Face; with it only the result is, as in PyTorch and ONNX Runtime.
func (s *Set) Normalize(n Norm, stream driver.Stream) error {
	kernel := "rms_norm"
	if n.Center {
		kernel = "layer_norm"
	}
	if n.T != F32 && n.T != BF16 {
		return &TypeError{kernel, "input", n.T}
	}
	if n.Weight != 0 && n.WeightType.suffix() == "" {
		return &TypeError{kernel, "weight", n.WeightType}
	}
	if n.Bias != 0 && n.BiasType.suffix() == "" {
		return &TypeError{kernel, "bias", n.BiasType}
	}
	ld, err := n.Codes.check(kernel, n.Cols)
	if err != nil {
		return err
	}
	name, per, limit := kernel+"_"+n.T.suffix(), int64(8), 1024
	if n.fast(ld) {
		name, per, limit = kernel+"_fast_"+n.T.suffix(), 16, fastCols/16
	}
	l, err := rows(kernel, n.Rows, n.Cols, per, limit, stream)
	if err != nil {
		return err
	}
	return launch(s, name, l, &normArgs{x: n.X, residual: n.Residual, sum: n.Sum, y: n.Y, codes: n.Codes.To,
		weight: n.Weight, bias: n.Bias, scale: n.Codes.Scale, amax: n.Codes.Amax, rows: n.Rows, cols: n.Cols, codeLd: ld,
		epsilon: n.Epsilon, weightType: n.WeightType, biasType: n.BiasType, format: n.Codes.Format})
}

const fastCols = 8192 // of a row that a block of the fast kernel keeps in registers

// fast reports whether the fast kernel takes it: rows of up to 8192 values in whole 16-byte words.
func (n Norm) fast(codeLd int64) bool {
	at := n.X | n.Residual | n.Sum | n.Y | n.Weight | n.Bias
	return n.Cols%8 == 0 && n.Cols <= fastCols && at%16 == 0 && n.Codes.To%8 == 0 && codeLd%8 == 0
}
