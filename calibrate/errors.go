package calibrate

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotConverted says that a model has no Float8Linear: it has to be converted before it can be calibrated.
var ErrNotConverted = errors.New("the model has no Float8Linear layer: it was not converted")

// ErrFrozen says that a model's scales were frozen, and that a run would move them again.
var ErrFrozen = errors.New("the scales of the model were frozen by an earlier calibration")

// ErrShard says that a model has the state of one part of the rows alone, from which no run can go on as one process would.
var ErrShard = errors.New("the model is one shard of a calibration that was not merged: merge the shards first")

// StateError says that a layer's state is not there, or not fit to go on from.
type StateError struct {
	Layer string
	State string // the input of the operator, such as "scale_input"
	Value string // what the node names there; "" where it names nothing
	Why   string
}

// Error names layer, state and cause.
func (e *StateError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("layer %q: %s: %s", e.Layer, e.State, e.Why)
	}
	return fmt.Sprintf("layer %q: %s %q: %s", e.Layer, e.State, e.Value, e.Why)
}

// SpreadError says why several ranks, or shards, cannot share the batches of a model.
type SpreadError struct{ Over, Why string }

// Error names what the run was to be spread over, and the cause.
func (e *SpreadError) Error() string {
	return fmt.Sprintf("the batches cannot be shared by %s: %s", e.Over, e.Why)
}

// UnobservedError says that layers have no observed amax, and so no scale that could be frozen: their input was zero, or not finite, in
// every step, or they did not run.
type UnobservedError struct{ Layers []string }

// Error names the first few layers.
func (e *UnobservedError) Error() string {
	const most = 4
	var names []string
	for _, l := range e.Layers[:min(len(e.Layers), most)] {
		names = append(names, fmt.Sprintf("%q", l))
	}
	word, list := "layer", strings.Join(names, ", ")
	if len(e.Layers) > 1 {
		word = "layers"
	}
	if more := len(e.Layers) - most; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("%s %s: no amax above zero was observed, so there is no scale to freeze", word, list)
}
