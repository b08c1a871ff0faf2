package report

// Execution is where the models of a section ran. Which device that was stands in its settings.
type Execution struct {
	// Compute is the type in which a GPU computed what is not float8, "float32" or "bfloat16"; "" for an engine that has no choice.
	Compute string `json:"compute" class:"exact"`
	// Accumulate is how a GPU summed float8 products: "float32", or "fast" in the tensor cores' own accumulators; "" for other engines.
	Accumulate string `json:"accumulate" class:"exact"`
	// Placements are the nodes that did not run where, or as, one would expect of the device, in the order of execution.
	Placements []Placement `json:"placements"`
}

// The models that a section may have run. A model that was measured alone is the rewritten one, unless it has no Float8Linear.
const (
	ModelOriginal  = "original"
	ModelRewritten = "rewritten"
)

// Placement says where a node ran instead, and why.
type Placement struct {
	Model string `json:"model" class:"exact"` // ModelOriginal or ModelRewritten
	Node  string `json:"node" class:"exact"`
	Op    string `json:"op" class:"exact"`
	Layer string `json:"layer" class:"exact"` // of a Float8Linear; "" otherwise
	Where string `json:"where" class:"exact"` // "cpu", or the type that a float8 layer was computed in, such as "bfloat16"
	Why   string `json:"why" class:"exact"`
}
