package report

import "fmt"

// Bench is what `fp8rewrite bench` measured: the section of a report of KindBench. Times are medians, in milliseconds.
type Bench struct {
	Settings  BenchSettings `json:"settings"`
	Execution Execution     `json:"execution"`
	// Ceilings are the rates that the device reached when it was asked for nothing else; empty where it was not asked.
	Ceilings []Ceiling `json:"ceilings"`
	// Model is the model that was measured, Against the one that it was compared with; Against is nil where there is none.
	Model   BenchedModel  `json:"model"`
	Against *BenchedModel `json:"against"`
	// Layers has one entry for each linear layer that has a time, in the order of execution; empty where the engine times no layers.
	Layers []BenchedLayer `json:"layers"`
	// Shapes are products of the sizes of a model, in float8 and in bfloat16, from which the device teaches the rule of Advice.
	Shapes []BenchedShape `json:"shapes"`
	// Advice says which layers to keep; nil without two models whose layers have times.
	Advice *BenchAdvice `json:"advice"`
}

// BenchSettings are the choices that shaped the measurement.
type BenchSettings struct {
	Device string       `json:"device" class:"exact"`
	Runs   int64        `json:"runs" class:"exact"` // that a median is of
	Data   string       `json:"data" class:"exact"` // fingerprint of the batches; "" for random inputs
	Inputs []BenchInput `json:"inputs"`
}

// BenchInput is an input of the models, as it was measured with.
type BenchInput struct {
	Name  string  `json:"name" class:"exact"`
	DType string  `json:"dtype" class:"exact"`
	Shape []int64 `json:"shape" class:"exact"`
}

// Ceiling is a rate that a device reached.
type Ceiling struct {
	Name  string  `json:"name" class:"exact"` // one of the constants below
	Unit  string  `json:"unit" class:"exact"` // "TFLOP/s" or "GB/s"
	Value Float64 `json:"rate" class:"tolerant"`
}

// The ceilings.
const (
	CeilingFloat8   = "float8 product"
	CeilingBFloat16 = "bfloat16 product"
	CeilingMemory   = "memory"
)

// BenchedModel is the time of a run of a whole model.
type BenchedModel struct {
	Name    string  `json:"name" class:"exact"` // base name of the file
	Median  Float64 `json:"median_ms" class:"tolerant"`
	Fastest Float64 `json:"fastest_ms" class:"tolerant"`
	Slowest Float64 `json:"slowest_ms" class:"tolerant"`
	// FLOPs is the floating-point operations of products and attention, Rate what it makes of them in TFLOP/s; 0 where the engine does not say.
	FLOPs Float64 `json:"flops" class:"tolerant"`
	Rate  Float64 `json:"tflops" class:"tolerant"`
	// WeightBytes and ActivationBytes are what the device holds.
	WeightBytes     int64 `json:"weight_bytes" class:"exact"`
	ActivationBytes int64 `json:"activation_bytes" class:"exact"`
	// Parts is where the time goes, by what runs, the longest first; empty where the engine does not say. The sum is more than the
	// median where parts overlap, or are started faster together.
	Parts []BenchedPart `json:"parts"`
}

// BenchedPart is the steps of one kind.
type BenchedPart struct {
	Name  string  `json:"name" class:"exact"`
	Steps int64   `json:"steps" class:"exact"`
	Time  Float64 `json:"ms" class:"tolerant"`
	Bytes Float64 `json:"bytes" class:"tolerant"` // read and written, at least
	Rate  Float64 `json:"gbs" class:"tolerant"`   // what that makes in GB/s
}

// BenchedLayer is one linear layer: in the model, and in the one that it is compared with.
type BenchedLayer struct {
	Name string `json:"name" class:"exact"`
	// Tokens is M, OutFeatures N and InFeatures K of the product; 0 where the engine does not say.
	Tokens      int64 `json:"tokens" class:"exact"`
	OutFeatures int64 `json:"out_features" class:"exact"`
	InFeatures  int64 `json:"in_features" class:"exact"`
	// Kernel is what computed the product, such as "matmul e4m3 8192x4096x4096".
	Kernel string  `json:"kernel" class:"exact"`
	Time   Float64 `json:"ms" class:"tolerant"`         // all steps of the layer, casts that are its own included
	Matmul Float64 `json:"product_ms" class:"tolerant"` // the product alone
	Rate   Float64 `json:"tflops" class:"tolerant"`     // of the product
	Memory Float64 `json:"gbs" class:"tolerant"`        // of the whole layer: what must be read and written, by its time
	// OfCeiling is the product's rate by that of the ceiling for its type; nil where there is none.
	OfCeiling *Float64 `json:"of_ceiling" class:"tolerant"`
	// Against is the layer's time in the other model, Speedup that divided by Time; nil where it is not there or has no time.
	Against *Float64 `json:"against_ms" class:"tolerant"`
	Speedup *Float64 `json:"speedup" class:"tolerant"`
	Keep    bool     `json:"keep" class:"exact"` // float8 is no faster
}

// BenchedShape is a square product: so many tokens, and as many features in as out.
type BenchedShape struct {
	Tokens   int64   `json:"tokens" class:"exact"`
	Features int64   `json:"features" class:"exact"`
	Float8   Float64 `json:"float8_ms" class:"tolerant"` // with the cast of its input and the amax
	BFloat16 Float64 `json:"bfloat16_ms" class:"tolerant"`
	Speedup  Float64 `json:"speedup" class:"tolerant"`
}

// BenchAdvice says what to keep as it is.
type BenchAdvice struct {
	Keep    []string `json:"keep" class:"exact"`    // layers
	Exclude []string `json:"exclude" class:"exact"` // patterns for --exclude that match these and no other layer
	// MinDim is the --min-dim that the measured layers teach: of all values the one under which they need the least time; 0 for no rule.
	MinDim int64 `json:"min_dim" class:"exact"`
	// CardMinDim is what Shapes teach for the tokens of this run: the least features from which on float8 is faster; 0 where it always
	// is, -1 where it never is or was not asked.
	CardMinDim int64 `json:"card_min_dim" class:"exact"`
	// Saved is the milliseconds that keeping the layers saves, by their own times.
	Saved Float64 `json:"saved_ms" class:"tolerant"`
}

// check holds the section against its lists.
func (b *Bench) check() error {
	for i, c := range b.Ceilings {
		if c.Name != CeilingFloat8 && c.Name != CeilingBFloat16 && c.Name != CeilingMemory {
			return fmt.Errorf("ceilings[%d]: name %q, want %q, %q or %q", i, cutMiddle(c.Name, 40), CeilingFloat8, CeilingBFloat16, CeilingMemory)
		}
	}
	if b.Against == nil && b.Advice != nil {
		return fmt.Errorf("advice without a model to compare with")
	}
	return nil
}
