package ops

import (
	"fmt"

	"github.com/fp8rewrite/fp8rewrite/graph"
)

// Layer is a Float8Linear node with a field for each thing that it names. State that the node leaves out has the name "".
type Layer struct {
	Name    string // the node's
	Variant Variant

	Input                                  string
	Weight                                 string
	ScaleInput, ScaleWeight                string
	AmaxHistoryInput, AmaxHistoryWeight    string
	ScaleGradOutput, AmaxHistoryGradOutput string
	Initialized                            string
	Output, AmaxInput                      string

	Original Original
	QuantMax float32 // 448 / 2^margin
}

// Node makes the node of l: all inputs, both outputs, every attribute.
func (l Layer) Node() *graph.Node {
	return &graph.Node{
		Name:   l.Name,
		OpType: l.Variant.FunctionName(),
		Domain: Domain,
		Inputs: []string{
			InInput: l.Input, InWeight: l.Weight, InScaleInput: l.ScaleInput, InScaleWeight: l.ScaleWeight,
			InAmaxHistoryInput: l.AmaxHistoryInput, InAmaxHistoryWeight: l.AmaxHistoryWeight,
			InScaleGradOutput: l.ScaleGradOutput, InAmaxHistoryGradOutput: l.AmaxHistoryGradOutput,
			InInitialized: l.Initialized,
		},
		Outputs:    []string{OutOutput: l.Output, OutAmaxInput: l.AmaxInput},
		Attributes: append(l.Original.attributes(), graph.Float(AttrQuantMax, l.QuantMax)),
	}
}

// ReadLayer reads a node for which IsFloat8Linear holds; the error says what is wrong with a node that another hand wrote. The
// first four inputs and the first output must be named, as the body uses them; the rest is state that it does not need.
func ReadLayer(n *graph.Node) (Layer, error) {
	fail := func(format string, args ...any) (Layer, error) {
		return Layer{}, fmt.Errorf("node %q (%s): "+format, append([]any{n.Name, n.OpType}, args...)...)
	}
	v, ok := ParseVariant(n.OpType)
	if !ok || n.Domain != Domain {
		return fail("domain %q: not a variant of Float8Linear", n.Domain)
	}
	if len(n.Inputs) > NumInputs || len(n.Outputs) > NumOutputs {
		return fail("%d inputs and %d outputs, want at most %d and %d", len(n.Inputs), len(n.Outputs), NumInputs, NumOutputs)
	}
	for i := InInput; i <= InScaleWeight; i++ {
		if n.Input(i) == "" {
			return fail("input %d (%s) is left out", i, inputNames[i])
		}
	}
	if n.Output(OutOutput) == "" {
		return fail("output %d (%s) is left out", OutOutput, outputNames[OutOutput])
	}
	original, quantMax, err := readOriginal(n)
	if err != nil {
		return fail("%w", err)
	}
	return Layer{
		Name: n.Name, Variant: v,
		Input: n.Input(InInput), Weight: n.Input(InWeight),
		ScaleInput: n.Input(InScaleInput), ScaleWeight: n.Input(InScaleWeight),
		AmaxHistoryInput: n.Input(InAmaxHistoryInput), AmaxHistoryWeight: n.Input(InAmaxHistoryWeight),
		ScaleGradOutput: n.Input(InScaleGradOutput), AmaxHistoryGradOutput: n.Input(InAmaxHistoryGradOutput),
		Initialized: n.Input(InInitialized),
		Output:      n.Output(OutOutput), AmaxInput: n.Output(OutAmaxInput),
		Original: original, QuantMax: quantMax,
	}, nil
}
