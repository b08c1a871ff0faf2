package report

// SchemaVersion is the version of the schema that Encode writes: major.minor. A minor step adds fields or codes; a major step
// changes or removes one. Decode reads every version that was ever written, and newer minors of the same major.
const SchemaVersion = "1.2"

// Kind says which job made a report.
type Kind string

// The kinds.
const (
	KindConvert   Kind = "convert"   // of `fp8rewrite convert`
	KindCalibrate Kind = "calibrate" // of `fp8rewrite calibrate`; it has no Layers and a Calibration
	KindVerify    Kind = "verify"    // of `fp8rewrite verify`; it has no Layers and a Verification
	KindBench     Kind = "bench"     // of `fp8rewrite bench`; it has no Layers and a Bench
	KindMerged    Kind = "merged"    // of `fp8rewrite report merge`; it has the sections of its Sources
)

// Report is everything one job has to say. The field order is the order of the JSON; the class tag of a leaf says how two reports
// are compared: exact fields must be equal, tolerant ones within a tolerance, volatile ones are ignored. A field of a version after
// 1.0 names it in a since tag, which holds for everything below it.
type Report struct {
	// SchemaVersion is set by Finish.
	SchemaVersion string `json:"schema_version" class:"exact"`
	Kind          Kind   `json:"kind" class:"exact"`
	Model         Model  `json:"model"`
	// Sources are the reports that a report of KindMerged joins, in the order of the jobs; empty in other kinds.
	Sources  []Source `json:"sources" since:"1.2"`
	Settings Settings `json:"settings"`
	State    State    `json:"state"`
	// Layers has one entry for each MatMul, Gemm and Float8Linear of the input model, in graph order: a node before the nodes
	// after it, the nodes of a subgraph at the place of the node that holds it.
	Layers []Layer `json:"layers"`
	// Calibration is nil unless Kind is KindCalibrate, or a source is.
	Calibration *Calibration `json:"calibration" since:"1.1"`
	// Verification is nil unless Kind is KindVerify, or a source is.
	Verification *Verification `json:"verification" since:"1.1"`
	// Bench is nil unless Kind is KindBench, or a source is.
	Bench    *Bench    `json:"bench" since:"1.2"`
	Changes  []Change  `json:"changes"`
	Warnings []Warning `json:"warnings"`
	// Totals is computed by Finish.
	Totals   Totals   `json:"totals"`
	Volatile Volatile `json:"volatile"`
}

// Model names the file that went in and the file that came out.
type Model struct {
	Input Artifact `json:"input"`
	// Output is nil where there is none. Under --dry-run it is the planned file, without digests.
	Output *Artifact `json:"output"`
}

// Artifact is a model file as it lies on disk, with its external data.
type Artifact struct {
	// Name is the base name only: a report must not depend on where the model lies.
	Name string `json:"name" class:"exact"`
	// SHA256 is the digest, in lower-case hex, of the model file's bytes; "" for a file that was planned and not written.
	SHA256 string `json:"sha256" class:"exact"`
	// Format is "onnx", or "safetensors" for a checkpoint, which has no versions, opsets and nodes.
	Format string `json:"format" class:"exact"`
	// Bytes is the size of the model file and of its external data together.
	Bytes     int64   `json:"bytes" class:"exact"`
	IRVersion int64   `json:"ir_version" class:"exact"`
	Opset     int64   `json:"opset" class:"exact"` // of the default domain; 0 if the model does not import it
	Opsets    []Opset `json:"opsets"`              // every import, in the order of the file
	// Nodes counts the nodes of the main graph, its subgraphs and its functions.
	Nodes         int64          `json:"nodes" class:"exact"`
	Functions     int64          `json:"functions" class:"exact"`
	Producer      string         `json:"producer" class:"exact"` // producer name and version, as the file gives them
	ExternalFiles []ExternalFile `json:"external_files"`
}

// Opset is one operator-set import of a model.
type Opset struct {
	Domain  string `json:"domain" class:"exact"` // "" is the default domain, ai.onnx
	Version int64  `json:"version" class:"exact"`
}

// ExternalFile is one file of tensor data beside a model.
type ExternalFile struct {
	Name  string `json:"name" class:"exact"` // relative to the model's folder
	Bytes int64  `json:"bytes" class:"exact"`
	// XXH64 is the 64-bit xxHash of its bytes, 16 hex digits: it tells contents apart, and costs little beside reading them.
	XXH64 string `json:"xxh64" class:"exact"`
}

// Settings are the choices that shaped the result, as the job understood them, defaults filled in.
type Settings struct {
	// Recipe is the one-line form, such as "i:del,w:del,go:del h16 max".
	Recipe         string   `json:"recipe" class:"exact"`
	HistoryLen     int64    `json:"history_len" class:"exact"`
	AmaxCompute    string   `json:"amax_compute" class:"exact"` // "max" or "most_recent"
	Margin         int64    `json:"margin" class:"exact"`       // the scale is divided by 2^margin
	PowerOfTwo     bool     `json:"power_of_two" class:"exact"`
	PerChannel     bool     `json:"per_channel" class:"exact"`
	Weights        string   `json:"weights" class:"exact"` // "float8" or "original"
	Emit           string   `json:"emit" class:"exact"`    // "float8linear" or "qdq"; of a checkpoint its layout, or "restore"
	Include        []string `json:"include" class:"exact"`
	Exclude        []string `json:"exclude" class:"exact"`
	MultipleOf     int64    `json:"multiple_of" class:"exact"` // 0 and 1: no rule
	MinDim         int64    `json:"min_dim" class:"exact"`     // 0: no rule
	AssumeConstant bool     `json:"assume_constant" class:"exact"`
	Observe        bool     `json:"observe" class:"exact"` // amaxes became graph outputs
}

// State says how far the float8 state of the output model has come.
type State struct {
	// Calibrated reports whether every layer that needs observed amaxes has them. A model whose layers all scale dynamically needs
	// none and is calibrated.
	Calibrated bool `json:"calibrated" class:"exact"`
	// DelayedLayers counts the layers whose input scale comes from a stored history, InitializedLayers those of them that have
	// made an observation.
	DelayedLayers     int64 `json:"delayed_layers" class:"exact"`
	InitializedLayers int64 `json:"initialized_layers" class:"exact"`
}

// Change is something that was done to the model as a whole, beside the layers.
type Change struct {
	Code     ChangeCode `json:"code" class:"exact"`
	Subject  string     `json:"subject" class:"exact"` // what was changed: a name, a domain, or "model"
	Sentence string     `json:"sentence" class:"exact"`
}

// Warning is something the user should know. It is data: it stands in every form of the report.
type Warning struct {
	Code     WarningCode `json:"code" class:"exact"`
	Subject  string      `json:"subject" class:"exact"`
	Sentence string      `json:"sentence" class:"exact"`
}

// Volatile holds what may differ between two runs of the same job. It is the last object of the JSON.
type Volatile struct {
	Time            string  `json:"time" class:"volatile"` // start of the job, RFC 3339, UTC
	DurationSeconds Float64 `json:"duration_seconds" class:"volatile"`
	Host            string  `json:"host" class:"volatile"`
	OS              string  `json:"os" class:"volatile"`
	Arch            string  `json:"arch" class:"volatile"`
	Threads         int64   `json:"threads" class:"volatile"`
	Version         string  `json:"version" class:"volatile"` // of fp8rewrite
	GoVersion       string  `json:"go_version" class:"volatile"`
	Card            string  `json:"card" class:"volatile" since:"1.2"`     // the GPU and its libraries; "" where there was none
	Fallback        string  `json:"fallback" class:"volatile" since:"1.2"` // why --device auto took no GPU; "" where it took one, or was not asked to
}
