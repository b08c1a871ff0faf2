package report

// ChangeCode names a change to the model beside its layers.
type ChangeCode string

// WarningCode names a warning.
type WarningCode string

// The changes. Their order is the order of docs; the report keeps the order in which they were made.
const (
	ChangeOpsetLifted       ChangeCode = "opset-lifted"
	ChangeIRLifted          ChangeCode = "ir-lifted"
	ChangeOperatorConverted ChangeCode = "operator-converted"
	ChangeInputDropped      ChangeCode = "graph-input-dropped"
	ChangeFunctionInlined   ChangeCode = "function-inlined"
	ChangeFunctionAdded     ChangeCode = "function-added"
	ChangeWeightDuplicated  ChangeCode = "weight-duplicated"
	ChangeExternalData      ChangeCode = "external-data"
	ChangeOutputAdded       ChangeCode = "graph-output-added"
)

// The warnings. Their order is the order of docs.
const (
	WarnUncalibrated     WarningCode = "uncalibrated"
	WarnNothingRewritten WarningCode = "nothing-rewritten"
	WarnAlreadyConverted WarningCode = "already-converted"
	WarnModelKept        WarningCode = "model-kept"
	WarnAssumedConstant  WarningCode = "assumed-constant"
	WarnPatternUnmatched WarningCode = "pattern-unmatched"
	WarnOutputLarger     WarningCode = "output-larger"
	WarnNotObservable    WarningCode = "not-observable"
	WarnRecipeIgnored    WarningCode = "recipe-ignored"
	WarnQDQRuntime       WarningCode = "qdq-runtime"
	WarnDeadLayer        WarningCode = "dead-layer"
	WarnOutlierLayer     WarningCode = "outlier-layer"
	WarnAmaxSpike        WarningCode = "amax-spike"
	WarnAmaxGrowing      WarningCode = "amax-growing"
	WarnAmaxRejected     WarningCode = "amax-rejected"
	WarnScaleMissing     WarningCode = "scale-missing"
	WarnWeightsCopied    WarningCode = "weights-copied"
)

// Changes lists every change in order, with the template of its sentence.
func Changes() []CodeInfo[ChangeCode] {
	return []CodeInfo[ChangeCode]{
		{ChangeOpsetLifted, "the opset of the default domain was lifted from {before} to {after}, for operators that know float8"},
		{ChangeIRLifted, "the IR version was lifted from {before} to {after}"},
		{ChangeOperatorConverted, "the operator {op} changed between opsets; nodes converted: {count}"},
		{ChangeInputDropped, "the graph input {input} was dropped: it is an initializer, which cannot be overridden"},
		{ChangeFunctionInlined, "the function {function} was inlined, because it holds layers to rewrite"},
		{ChangeFunctionAdded, "the function {function} was added; it holds the operator's body in standard operators"},
		{ChangeWeightDuplicated, "the original of the weight {weight} was kept as well; other uses of it: {count}"},
		{ChangeExternalData, "the weights were written to the external data file {file}"},
		{ChangeOutputAdded, "the graph output {output} was added; it is the amax of the layer {layer} in each run"},
	}
}

// Warnings lists every warning in order, with the template of its sentence.
func Warnings() []CodeInfo[WarningCode] {
	return []CodeInfo[WarningCode]{
		{WarnUncalibrated, "layers that use delayed scaling and have seen no data: {count}; calibrate the model before it is used"},
		{WarnNothingRewritten, "no layer was rewritten"},
		{WarnAlreadyConverted, "Float8Linear layers that the model held already and that were left as they are: {count}"},
		{WarnModelKept, "the model was kept as it is: {why}"},
		{WarnAssumedConstant, "the initializer {weight} is a graph input and was taken for a constant; callers can no longer replace it"},
		{WarnPatternUnmatched, "the {list} pattern {pattern} matches no layer"},
		{WarnOutputLarger, "the output is larger than the input: {before} bytes before, {after} bytes after"},
		{WarnNotObservable, "the amax of the layer {layer} cannot become a graph output: {why}"},
		{WarnRecipeIgnored, "the model was converted with the recipe {have}; the recipe {want} of this run changes nothing"},
		{WarnQDQRuntime, "pairs of QuantizeLinear and DequantizeLinear in float8 are for TensorRT: with its default optimizations ONNX " +
			"Runtime refuses them or computes something else, so disable those to run the model there"},
		// What a calibration measured stays out of these sentences: another device measures it a little differently.
		{WarnDeadLayer, "the layer {layer} has seen no amax to make a scale from: {why}"},
		{WarnOutlierLayer, "the largest amax of the {operand} of layer {layer} is over {limit} times the median over the layers: its ordinary elements " +
			"lose that much of the range"},
		{WarnAmaxSpike, "the {operand} of layer {layer} had its largest amax in step {step}, over {limit} times its own median: until that step " +
			"leaves the history its scale is small"},
		{WarnAmaxGrowing, "the amax of the {operand} of layer {layer} was still growing at the last step, by more than {percent}% over all steps " +
			"before: more steps may find larger ones"},
		{WarnAmaxRejected, "the {operand} of layer {layer} had amaxes that are not finite and did not enter the history; steps with NaN: {nan}, with " +
			"infinity: {inf}"},
		{WarnScaleMissing, "no scale stands beside the float8 weight {weight}: its codes were taken for its values"},
		{WarnWeightsCopied, "the file {file} looks like weights that belong to no index: it was copied as it is"},
	}
}

// NewChange is the change with the given code to subject; args fill the placeholders of its sentence in order (see Fill).
func NewChange(code ChangeCode, subject string, args ...any) Change {
	return Change{Code: code, Subject: subject, Sentence: sentence(Changes(), code, args)}
}

// NewWarning is the warning with the given code about subject; args fill the placeholders of its sentence in order (see Fill).
func NewWarning(code WarningCode, subject string, args ...any) Warning {
	return Warning{Code: code, Subject: subject, Sentence: sentence(Warnings(), code, args)}
}
