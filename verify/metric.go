package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/tensor"
)

var le = binary.LittleEndian

// Metric is how well a model does its task, from logits [..., C] and labels [...] that name the right class of each row.
type Metric struct {
	Rows    int64   // rows with a label; a negative label leaves its row out, as in PyTorch's cross_entropy
	Loss    float64 // mean cross-entropy over the rows, in nats: log Σ exp(logit) − logit[label]
	Correct int64   // rows whose largest logit is the label's; the first of equals counts, and a row with a NaN or of nothing but −Inf is wrong
}

// Perplexity is e^Loss.
func (m Metric) Perplexity() float64 { return math.Exp(m.Loss) }

// Accuracy is the share of rows that are correct, 0 to 1.
func (m Metric) Accuracy() float64 { return float64(m.Correct) / float64(m.Rows) }

// task sums a Metric over batches. Each row's loss is a float64 of its own, added in order.
type task struct {
	rows, correct int64
	loss          float64
}

func (k *task) metric() Metric {
	return Metric{Rows: k.rows, Loss: k.loss / float64(k.rows), Correct: k.correct}
}

// add counts one batch.
func (k *task) add(logits, labels *tensor.Tensor) error {
	rank := len(logits.Shape)
	if rank == 0 {
		return fmt.Errorf("logits are a scalar, want a class axis")
	}
	if !labels.Shape.Equal(logits.Shape[:rank-1]) {
		return fmt.Errorf("labels have shape %s, want %s: that of the logits %s without the last axis", labels.Shape, logits.Shape[:rank-1], logits.Shape)
	}
	classes := int(logits.Shape[rank-1])
	x, err := floats(logits)
	if err != nil {
		return fmt.Errorf("logits: %w", err)
	}
	want, err := integers(labels)
	if err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	for i, label := range want {
		if label < 0 {
			continue
		}
		if label >= int64(classes) {
			return fmt.Errorf("label %d in row %d, and there are %d classes", label, i, classes)
		}
		first := i * classes
		best, top, whole := -1, math.Inf(-1), true
		for j := range classes {
			v := x(first + j)
			if v > top {
				best, top = j, v
			}
			whole = whole && !math.IsNaN(v)
		}
		sum := 0.0
		for j := range classes {
			sum += math.Exp(x(first+j) - top)
		}
		k.loss += top + math.Log(sum) - x(first+int(label))
		k.rows++
		if whole && int64(best) == label {
			k.correct++
		}
	}
	return nil
}

// integers is the content of an integer tensor. What int64 does not hold is an error: no model has that many classes.
func integers(t *tensor.Tensor) ([]int64, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	var at func(i int) int64
	switch t.DType {
	case tensor.Int8:
		at = func(i int) int64 { return int64(int8(b[i])) }
	case tensor.Uint8:
		at = func(i int) int64 { return int64(b[i]) }
	case tensor.Int16:
		at = func(i int) int64 { return int64(int16(le.Uint16(b[2*i:]))) }
	case tensor.Uint16:
		at = func(i int) int64 { return int64(le.Uint16(b[2*i:])) }
	case tensor.Int32:
		at = func(i int) int64 { return int64(int32(le.Uint32(b[4*i:]))) }
	case tensor.Uint32:
		at = func(i int) int64 { return int64(le.Uint32(b[4*i:])) }
	case tensor.Int64, tensor.Uint64:
		at = func(i int) int64 { return int64(le.Uint64(b[8*i:])) }
	default:
		return nil, fmt.Errorf("got %s, want an integer type of 8 to 64 bits", t.DType)
	}
	out := make([]int64, t.Elements())
	for i := range out {
		out[i] = at(i)
		if t.DType == tensor.Uint64 && out[i] < 0 {
			return nil, fmt.Errorf("label %d in row %d is no class", uint64(out[i]), i)
		}
	}
	return out, nil
}

// Judge is the Metric of one batch. The error says what does not fit: the shape or type of one of them, or a label that is no class.
func Judge(logits, labels *tensor.Tensor) (Metric, error) {
	var k task
	if err := k.add(logits, labels); err != nil {
		return Metric{}, err
	}
	if k.rows == 0 {
		return Metric{}, errors.New("no label is a class: all are negative")
	}
	return k.metric(), nil
}
