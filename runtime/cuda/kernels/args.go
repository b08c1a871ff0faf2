package kernels

import "github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"

// The structs here are the arguments of the kernels, field by field as in the sources. All fields are as wide as they are aligned, so
// Go and C lay them out alike; padding is written out.

type castArgs struct {
	src, dst, scale, amax, counts driver.Ptr
	n                             int64
}

type padArgs struct {
	src, dst, scale, amax driver.Ptr
	rows, cols, ld        int64
	format, _             int32
}

type decodeArgs struct {
	src, dst, scale driver.Ptr
	n               int64
}

type convertArgs struct {
	src, dst driver.Ptr
	n        int64
}

type scaleArgs struct {
	amax, scale, inverse driver.Ptr
	n                    int64
	formatMax, epsilon   float32
	margin, powerOfTwo   int32
}

type normArgs struct {
	x, residual, sum, y, codes, weight, bias, scale, amax driver.Ptr
	rows, cols, codeLd                                    int64
	epsilon                                               float32
	weightType, biasType, format                          Type
}

type actArgs struct {
	a, b, y, codes, scale, amax  driver.Ptr
	rows, cols, aLd, bLd, codeLd int64
	format                       Type
	_                            int32
}

const (
	chainInputs = 6
	chainSteps  = 24
	chainSaved  = 3
	rank        = 5
)

type chainInput struct {
	p      driver.Ptr
	stride [rank]int64
	typ    Type
	_      int32
}

type chainStep struct {
	op, kind, index, _ uint8
	constant           float32
}

type chainArgs struct {
	in              [chainInputs]chainInput
	step            [chainSteps]chainStep
	dim             [rank]int64
	codeLd          int64
	y, codes        driver.Ptr
	scale, amax     driver.Ptr
	steps           int32
	outType, format Type
	_               int32
}

type softmaxArgs struct {
	x, y, mask   driver.Ptr
	dim          [3]int64
	maskStride   [4]int64
	cols, offset int64
	scale        float32
	maskType     Type
	causal, log  int32
}

type reduceArgs struct {
	x, y            driver.Ptr
	outer, n, inner int64
	op, _           int32
}

type copyArgs struct {
	src, dst                  driver.Ptr
	dim, srcStride, dstStride [rank]int64
}

type transposeArgs struct {
	src, dst                  driver.Ptr
	dim, srcStride, dstStride [3]int64
	rows, cols, srcLd, dstLd  int64
}

type gatherArgs struct {
	src, index, dst, error    driver.Ptr
	outer, axis, count, bytes int64
	indexType                 Type
	unit                      int32
}

type rotaryArgs struct {
	x, cosine, sine, y, position        driver.Ptr
	batch, heads, sequence, head, width int64
	xStride, yStride                    [3]int64
	tableLd, positionStride, start      int64
	tableType                           Type
	full, interleaved, _                int32
}

type attentionArgs struct {
	q, k, v, o, mask, codes            driver.Ptr
	codeScale, amax                    driver.Ptr
	qStride, kStride, vStride, oStride [3]int64
	maskStride                         [4]int64
	queries, keys, offset              int64
	heads, kvHeads, head, causal       int32
	maskType, format                   Type
	scale                              float32
	_                                  int32
}
