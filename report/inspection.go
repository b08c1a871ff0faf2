package report

// Inspection is what `fp8rewrite inspect` says of a model.
type Inspection struct {
	SchemaVersion string           `json:"schema_version" class:"exact"`
	Model         Artifact         `json:"model"`
	Recipe        string           `json:"recipe" class:"exact"` // that the model was converted with; "" if it was not
	State         State            `json:"state"`
	Layers        []InspectedLayer `json:"layers"`
}

// InspectedLayer is one MatMul, Gemm or Float8Linear.
type InspectedLayer struct {
	Name  string  `json:"name" class:"exact"`
	Node  string  `json:"node" class:"exact"`
	Op    string  `json:"op" class:"exact"` // MatMul, Gemm, or the variant of Float8Linear
	Graph string  `json:"graph" class:"exact"`
	Shape []int64 `json:"shape" class:"exact"` // of the constant operand
	DType string  `json:"dtype" class:"exact"` // of the constant operand; "" if there is none
	Bytes int64   `json:"bytes" class:"exact"`
	// Reason is why convert would keep the layer with its default flags; nil where it would rewrite it.
	Reason *Reason `json:"reason"`
	// Float8 is the state of a Float8Linear; nil for the others.
	Float8 *Float8State `json:"float8"`
}

// Float8State is the state that a Float8Linear carries.
type Float8State struct {
	Initialized bool        `json:"initialized" class:"exact"`
	HistoryLen  int64       `json:"history_len" class:"exact"`
	ScaleInput  Float32     `json:"scale_input" class:"tolerant"`
	AmaxInput   []Float32   `json:"amax_input" class:"tolerant"` // the history, newest first
	ScaleWeight *QuantScale `json:"scale_weight"`
	AmaxWeight  Float32     `json:"amax_weight" class:"tolerant"` // the newest of the history
}
