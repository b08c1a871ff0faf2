package report

import "fmt"

// Verification is what `fp8rewrite verify` found: the section of a report of KindVerify.
type Verification struct {
	Settings  VerificationSettings `json:"settings"`
	Execution Execution            `json:"execution" since:"1.2"`
	// Models has one entry for each rewritten model that was compared with the original.
	Models []VerifiedModel `json:"models"`
	// Sensitivity ranks the layers by what each alone costs, the most expensive first; empty where that was not asked for.
	Sensitivity []LayerCost `json:"sensitivity"`
	// Exclusion is what to exclude so that the gates are met; nil where they are, or were not asked for.
	Exclusion *Exclusion `json:"exclusion"`
}

// VerificationSettings are the choices that shaped the comparison.
type VerificationSettings struct {
	Data      string `json:"data" class:"exact"` // fingerprint of the batches
	Batches   int64  `json:"batches" class:"exact"`
	BatchSize int64  `json:"batch_size" class:"exact"` // rows of a full batch; 0 where every batch brings its own
	Rows      int64  `json:"rows" class:"exact"`
	Device    string `json:"device" class:"exact"`
	Labels    string `json:"labels" class:"exact"` // array with the right classes; "" for none
	Logits    string `json:"logits" class:"exact"` // output that the labels judge; "" without labels
	Gates     []Gate `json:"gates"`
}

// Gate is a limit that a rewritten model has to keep.
type Gate struct {
	Name  string  `json:"name" class:"exact"` // min-sqnr (dB), max-loss-increase (nats) or max-accuracy-drop (0 to 1)
	Limit Float64 `json:"limit" class:"exact"`
}

// VerifiedModel is the comparison of one rewritten model with the original.
type VerifiedModel struct {
	Recipe  string          `json:"recipe" class:"exact"`
	Outputs []VerifiedValue `json:"outputs"`
	// Layers has one entry for each Float8Linear, in graph order; empty where several models were compared.
	Layers []VerifiedValue `json:"layers"`
	// Original and Rewritten are the task metrics; nil without labels.
	Original  *TaskMetric   `json:"original"`
	Rewritten *TaskMetric   `json:"rewritten"`
	Failures  []GateFailure `json:"failures"` // gates that are not met
}

// VerifiedValue is the error of one output, or of the output of one layer.
type VerifiedValue struct {
	Name string `json:"name" class:"exact"`
	// Value is the original's value that it was compared with; "" where there is none, and then the figures say nothing.
	Value    string `json:"value" class:"exact"`
	Elements int64  `json:"elements" class:"exact"`
	// SQNRdB is 10·log10 of the sum of squares of the original over that of the error; Infinity where nothing differs.
	SQNRdB Float64 `json:"sqnr_db" class:"tolerant"`
	MaxAbs Float64 `json:"max_abs_error" class:"tolerant"`
	Cosine Float64 `json:"cosine" class:"tolerant"`
	// NonFinite counts elements that are infinite or NaN on one side alone; they are left out of the other figures.
	NonFinite int64 `json:"nonfinite" class:"tolerant"`
}

// TaskMetric is how well a model does its task.
type TaskMetric struct {
	Rows       int64   `json:"rows" class:"exact"`    // that have a label
	Loss       Float64 `json:"loss" class:"tolerant"` // mean cross-entropy in nats
	Perplexity Float64 `json:"perplexity" class:"tolerant"`
	Correct    int64   `json:"correct" class:"tolerant"` // rows whose largest logit is the label's
	Accuracy   Float64 `json:"accuracy" class:"tolerant"`
}

// GateFailure is a limit that was not kept.
type GateFailure struct {
	Gate    string  `json:"gate" class:"exact"`
	Subject string  `json:"subject" class:"exact"` // the output whose SQNR it is about; "" for the metric
	Value   Float64 `json:"value" class:"tolerant"`
}

// LayerCost is what one layer costs when it alone is float8.
type LayerCost struct {
	Name   string  `json:"name" class:"exact"`
	SQNRdB Float64 `json:"sqnr_db" class:"tolerant"` // of the output that suffers most
	// LossIncrease and Correct are the changes of the metric; nil without labels.
	LossIncrease *Float64 `json:"loss_increase" class:"tolerant"`
	Correct      *int64   `json:"correct" class:"tolerant"`
}

// Exclusion is a list of layers to keep as they are, and what is left when they are.
type Exclusion struct {
	Layers    []string        `json:"layers" class:"exact"`
	Met       bool            `json:"met" class:"exact"` // whether the gates are met then
	Outputs   []VerifiedValue `json:"outputs"`
	Rewritten *TaskMetric     `json:"rewritten"`
}

// The names of the gates.
const (
	GateMinSQNR         = "min-sqnr"
	GateMaxLossIncrease = "max-loss-increase"
	GateMaxAccuracyDrop = "max-accuracy-drop"
)

// check holds the section against its lists and its own lengths.
func (v *Verification) check() error {
	for i, g := range v.Settings.Gates {
		if g.Name != GateMinSQNR && g.Name != GateMaxLossIncrease && g.Name != GateMaxAccuracyDrop {
			return fmt.Errorf("gates[%d]: name %q, want %q, %q or %q", i, cutMiddle(g.Name, 40), GateMinSQNR, GateMaxLossIncrease, GateMaxAccuracyDrop)
		}
	}
	if len(v.Models) == 0 {
		return fmt.Errorf("there is no model")
	}
	for i := range v.Models {
		if m := &v.Models[i]; (m.Original == nil) != (m.Rewritten == nil) {
			return fmt.Errorf("models[%d]: one metric, want that of the original and that of the rewritten model", i)
		}
	}
	return nil
}
