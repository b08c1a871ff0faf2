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
	Correct int64   // rows whose largest logit is the label's; the first of equals counts
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
	want, err := labels.AsInt64s()
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
		row := x[i*classes : (i+1)*classes]
		best, top := 0, math.Inf(-1)
		for j, v := range row {
			if float64(v) > top {
				best, top = j, float64(v)
			}
		}
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(float64(v) - top)
		}
		k.loss += top + math.Log(sum) - float64(row[label])
		k.rows++
		if int64(best) == label {
			k.correct++
		}
	}
	return nil
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
