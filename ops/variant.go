package ops

import "strings"

// InputMode is where the scale of the activation comes from.
type InputMode uint8

// The ways to scale the activation.
const (
	InputDelayed InputMode = iota // the stored scale_input
	InputDynamic                  // this run's own amax
	InputOff                      // no cast: only the weight is float8
)

// WeightMode is the form of the weight in the file and where its scale comes from.
type WeightMode uint8

// The forms of the weight.
const (
	WeightFloat8  WeightMode = iota // stored as float8, with the stored scale_weight
	WeightDelayed                   // stored in T, cast at every run with the stored scale_weight
	WeightDynamic                   // stored in T, cast at every run with a scale from its own amax
)

var (
	inputWords  = [...]string{InputDelayed: "", InputDynamic: "Dynamic", InputOff: "WeightOnly"}
	weightWords = [...]string{WeightFloat8: "", WeightDelayed: "OriginalWeight", WeightDynamic: "OriginalWeightDynamic"}
)

const (
	functionWord   = "Float8Linear"
	powerOfTwoWord = "PowerOfTwo"
)

// Variant chooses one of the operator's bodies. The zero value is the plain one: stored scales, float8 weight.
type Variant struct {
	Input  InputMode
	Weight WeightMode
	// PowerOfTwo floors the scales that the body makes to a power of two. It changes nothing where the body makes none, since
	// stored scales are floored by whoever stored them; see Canonical.
	PowerOfTwo bool
}

// Dynamic reports whether the body makes a scale from an amax of the run.
func (v Variant) Dynamic() bool { return v.Input == InputDynamic || v.Weight == WeightDynamic }

// Canonical is v without a flag that changes nothing, so that equal bodies are equal variants.
func (v Variant) Canonical() Variant {
	v.PowerOfTwo = v.PowerOfTwo && v.Dynamic()
	return v
}

// FunctionName is the operator's name for the variant: Float8Linear, a word for the activation, words for the weight, and
// PowerOfTwo; a word that says the usual is left out. "Dynamic" speaks of what stands before it: Float8LinearDynamic scales the
// activation dynamically, Float8LinearOriginalWeightDynamic the weight.
func (v Variant) FunctionName() string {
	v = v.Canonical()
	name := functionWord + inputWords[v.Input] + weightWords[v.Weight]
	if v.PowerOfTwo {
		name += powerOfTwoWord
	}
	return name
}

// String is the function's name.
func (v Variant) String() string { return v.FunctionName() }

// ParseVariant is the canonical variant that has the function name; ok is false when none has.
func ParseVariant(name string) (v Variant, ok bool) {
	if !strings.HasPrefix(name, functionWord) {
		return Variant{}, false
	}
	for _, v := range Variants() {
		if v.FunctionName() == name {
			return v, true
		}
	}
	return Variant{}, false
}

// Variants are all canonical variants, in the order of docs/FLOAT8LINEAR.md.
func Variants() []Variant {
	var all []Variant
	for in := range inputWords {
		for w := range weightWords {
			v := Variant{Input: InputMode(in), Weight: WeightMode(w)}
			all = append(all, v)
			if v.Dynamic() {
				v.PowerOfTwo = true
				all = append(all, v)
			}
		}
	}
	return all
}
