package diff

// Severity says how much a difference matters.
type Severity string

// The severities, the most severe first.
const (
	Error   Severity = "error"   // another result
	Warning Severity = "warning" // something to look at
	Note    Severity = "note"    // another way to the same result; it fails only where it is asked to
)

// Kind names what a difference is.
type Kind string

// The kinds. Their order is the order of findings of one severity.
const (
	KindMismatch       Kind = "kind-mismatch"
	ModelChanged       Kind = "model-changed"
	SettingChanged     Kind = "setting-changed"
	DataChanged        Kind = "data-changed"
	StateChanged       Kind = "state-changed"
	LayerRemoved       Kind = "layer-removed"
	LayerAdded         Kind = "layer-added"
	DecisionChanged    Kind = "decision-changed"
	WeightChanged      Kind = "weight-changed"
	GateFailed         Kind = "gate-failed"
	FigureNotFinite    Kind = "figure-not-finite"
	FigureChanged      Kind = "figure-changed"
	ValueRemoved       Kind = "value-removed"
	ValueAdded         Kind = "value-added"
	OutputChanged      Kind = "output-changed"
	SectionRemoved     Kind = "section-removed"
	SectionAdded       Kind = "section-added"
	LayerRenamed       Kind = "layer-renamed"
	ReasonChanged      Kind = "reason-changed"
	LayerChanged       Kind = "layer-changed"
	CountChanged       Kind = "count-changed"
	OrderChanged       Kind = "order-changed"
	GateMet            Kind = "gate-met"
	ExclusionChanged   Kind = "exclusion-changed"
	AdviceChanged      Kind = "advice-changed"
	PlacementChanged   Kind = "placement-changed"
	ModelChangeAdded   Kind = "change-added"
	ModelChangeRemoved Kind = "change-removed"
	ModelChangeDiffers Kind = "change-changed"
	WarningAdded       Kind = "warning-added"
	WarningRemoved     Kind = "warning-removed"
	WarningChanged     Kind = "warning-changed"
	TotalsChanged      Kind = "totals-changed"
	FileRenamed        Kind = "file-renamed"
	FieldChanged       Kind = "field-changed"
	SchemaChanged      Kind = "schema-changed"
	DeviceChanged      Kind = "device-changed"
	OutputRounded      Kind = "output-rounded"
)

// KindInfo is one entry of the closed list of kinds.
type KindInfo struct {
	Kind     Kind
	Severity Severity
	Sentence string
}

// Kinds lists every kind in order, with its severity and what it says.
func Kinds() []KindInfo {
	return []KindInfo{
		{KindMismatch, Error, "the reports are of different jobs; only their models and settings are compared"},
		{ModelChanged, Error, "the input model differs"},
		{SettingChanged, Error, "a setting differs"},
		{DataChanged, Error, "the data differs, in content or in order"},
		{StateChanged, Error, "the float8 state differs"},
		{LayerRemoved, Error, "the layer is in the old report only"},
		{LayerAdded, Error, "the layer is in the new report only"},
		{DecisionChanged, Error, "the decision about the layer differs"},
		{WeightChanged, Error, "the layer's weight differs"},
		{GateFailed, Error, "a gate that was met is not met"},
		{FigureNotFinite, Error, "a figure is finite on one side only"},
		{FigureChanged, Error, "a figure differs by more than its tolerance"},
		{ValueRemoved, Error, "the output or recipe is in the old report only"},
		{ValueAdded, Error, "the output or recipe is in the new report only"},
		{OutputChanged, Error, "the output model differs"},
		{SectionRemoved, Error, "what a job said is in the old report only"},
		{SectionAdded, Warning, "what a job said is in the new report only"},
		{LayerRenamed, Warning, "the layer has another name; its weight is the same"},
		{ReasonChanged, Warning, "the decision about the layer is the same, for another reason"},
		{LayerChanged, Warning, "the layer differs in something else than its decision, weight and figures"},
		{CountChanged, Warning, "an exact count differs"},
		{OrderChanged, Warning, "the same entries stand in another order"},
		{GateMet, Warning, "a gate that was not met is met"},
		{ExclusionChanged, Warning, "the proposal of layers to exclude differs"},
		{AdviceChanged, Warning, "the advice of a measurement differs"},
		{PlacementChanged, Warning, "a node ran elsewhere, or as another type"},
		{ModelChangeAdded, Warning, "a change to the model is in the new report only"},
		{ModelChangeRemoved, Warning, "a change to the model is in the old report only"},
		{ModelChangeDiffers, Warning, "a change to the model is described otherwise"},
		{WarningAdded, Warning, "a warning is in the new report only"},
		{WarningRemoved, Warning, "a warning is in the old report only"},
		{WarningChanged, Warning, "a warning is worded otherwise"},
		{TotalsChanged, Warning, "the totals differ"},
		{FileRenamed, Warning, "the model file has another name"},
		{FieldChanged, Warning, "a field differs"},
		{SchemaChanged, Note, "the reports have different schema versions; what one of them does not know is not compared"},
		{DeviceChanged, Note, "another device, or another number of processes, did the work"},
		{OutputRounded, Note, "the output's bytes differ, as another device rounds otherwise"},
	}
}

// Incomparable reports whether a difference of the kind keeps others from being found: who asks for some of them has to see it.
func Incomparable(k Kind) bool { return k == KindMismatch || k == SectionRemoved }

// kindsByPath says what a difference in an exact field is. The longest entry that holds the field decides.
func kindsByPath() map[string]Kind {
	return map[string]Kind{
		"schema_version": SchemaChanged, "kind": KindMismatch,
		"model.input": ModelChanged, "model.input.name": FileRenamed,
		"model.output": OutputChanged, "model.output.name": FileRenamed,
		"sources":  OutputChanged,
		"settings": SettingChanged, "state": StateChanged,
		"layers": LayerChanged, "layers[].decision": DecisionChanged, "layers[].rule": ReasonChanged, "layers[].reason": ReasonChanged,
		"layers[].weight_xxh64": WeightChanged, "layers[].shape": WeightChanged, "layers[].dtype_before": WeightChanged,
		"layers[].elements": WeightChanged, "layers[].bytes_before": WeightChanged,
		"layers[].saturated": CountChanged, "layers[].flushed": CountChanged,
		"calibration.settings": SettingChanged, "calibration.settings.data": DataChanged,
		"calibration.settings.device": DeviceChanged, "calibration.settings.ranks": DeviceChanged,
		"calibration.execution": PlacementChanged, "verification.execution": PlacementChanged, "bench.execution": PlacementChanged,
		"calibration.grad_output": StateChanged,
		"calibration.layers":      LayerChanged, "calibration.layers[].initialized": StateChanged, "calibration.layers[].steps_run": CountChanged,
		"calibration.layers[].input.elements": CountChanged, "calibration.layers[].input.nonfinite": CountChanged,
		"calibration.layers[].input.rejected_zero": CountChanged, "calibration.layers[].input.rejected_inf": CountChanged,
		"calibration.layers[].input.rejected_nan": CountChanged, "calibration.layers[].weight.elements": CountChanged,
		"calibration.layers[].weight.nonfinite": CountChanged, "calibration.layers[].weight.rejected_zero": CountChanged,
		"calibration.layers[].weight.rejected_inf": CountChanged, "calibration.layers[].weight.rejected_nan": CountChanged,
		"verification.settings": SettingChanged, "verification.settings.data": DataChanged, "verification.settings.device": DeviceChanged,
		"verification.models[].recipe":  SettingChanged,
		"verification.models[].outputs": LayerChanged, "verification.models[].outputs[].elements": CountChanged,
		"verification.models[].layers": LayerChanged, "verification.models[].layers[].elements": CountChanged,
		"verification.models[].original": CountChanged, "verification.models[].rewritten": CountChanged,
		"verification.models[].failures": GateFailed, "verification.sensitivity": LayerChanged, "verification.exclusion": ExclusionChanged,
		"bench":          LayerChanged,
		"bench.settings": SettingChanged, "bench.settings.data": DataChanged, "bench.settings.device": DeviceChanged, "bench.ceilings": SettingChanged,
		"bench.model": CountChanged, "bench.model.name": FileRenamed, "bench.against": CountChanged, "bench.against.name": FileRenamed,
		"bench.layers": LayerChanged, "bench.layers[].keep": AdviceChanged, "bench.shapes": SettingChanged, "bench.advice": AdviceChanged,
		"changes": ModelChangeDiffers, "warnings": WarningChanged, "totals": TotalsChanged,
	}
}

// kindAt is the kind of a difference in the exact field of the path, whose lists have empty brackets.
func (d *differ) kindAt(path string) Kind {
	for p := path; ; {
		if k, ok := d.kinds[p]; ok {
			return k
		}
		cut := len(p) - 1
		for cut > 0 && p[cut] != '.' && p[cut] != '[' {
			cut--
		}
		if cut <= 0 {
			return FieldChanged
		}
		p = p[:cut]
	}
}
