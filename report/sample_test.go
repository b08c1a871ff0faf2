package report_test

import "github.com/fp8rewrite/fp8rewrite/report"

// sample is a report that uses every part of the schema at least once. Its numbers describe no real model.
func sample() *report.Report {
	out := report.Artifact{
		Name: "tiny.fp8.onnx", SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Format: "onnx",
		Bytes: 2310, IRVersion: 9, Opset: 19, Opsets: []report.Opset{{Version: 19}, {Domain: "ai.fp8rewrite", Version: 1}},
		Nodes: 12, Functions: 1, Producer: "fp8rewrite",
		ExternalFiles: []report.ExternalFile{{Name: "tiny.fp8.onnx.data", Bytes: 1024,
			XXH64: "60303ae22b998861"}},
	}
	fc1 := report.Layer{
		Name: "fc1", Node: "/fc1/Gemm", Op: "Gemm", Decision: report.Rewritten, Rule: report.RuleGemm, Weight: "fc1.weight",
		WeightXXH64: "fd61a03af4f77d87", Shape: []int64{32, 16},
		DTypeBefore: "float32", DTypeAfter: "float8e4m3fn", InputScaling: "delayed",
		QuantScale: report.NewQuantScale([]float32{896}, false), Saturated: 0, Flushed: 3, Elements: 512,
		BytesBefore: 2048, BytesAfter: 512,
	}
	fc1.SetAmax(0.5)
	fc1.SetWeightSQNR(31.4159)
	then := report.Layer{
		Name: "head", Op: "MatMul", Graph: "If_3/then_branch", Decision: report.Rewritten, Rule: report.RuleMatMul, Weight: "val_93",
		WeightXXH64: "a4e624d686e03ed2", Shape: []int64{2, 32},
		DTypeBefore: "float32", DTypeAfter: "float8e4m3fn", InputScaling: "dynamic",
		QuantScale: report.NewQuantScale([]float32{448, 112.5}, true), Elements: 64, BytesBefore: 256, BytesAfter: 64,
	}
	then.SetAmax(3.982222)
	then.SetWeightSQNR(infinite)
	other := then
	other.Graph, other.SharedWith = "If_3/else_branch", "head"
	kept := report.Layer{
		Name: "rope", Node: "MatMul_7", Op: "MatMul", Decision: report.Kept, Weight: "inv_freq", Shape: []int64{1, 32, 1},
		DTypeBefore: "float32", DTypeAfter: "float32", Reason: report.Because(report.ReasonLeftConstantBatched, "inv_freq", 3),
		Elements: 32, BytesBefore: 128, BytesAfter: 128,
	}
	bad := report.Layer{
		Name: "broken", Node: "broken", Op: "MatMul", Decision: report.Kept, Weight: "w_nan", Shape: []int64{4, 4},
		DTypeBefore: "bfloat16", DTypeAfter: "bfloat16", Reason: report.Because(report.ReasonWeightNonfinite, "w_nan", 1),
		Elements: 16, BytesBefore: 32, BytesAfter: 32,
	}
	bad.SetAmax(notANumber)
	scores := report.Layer{Name: "scores", Node: "MatMul_9", Op: "MatMul", Decision: report.Kept,
		Reason: report.Because(report.ReasonNoConstantOperand)}

	r := &report.Report{
		Kind: report.KindConvert,
		Model: report.Model{
			Input: report.Artifact{Name: "tiny.onnx", SHA256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
				Format: "onnx", Bytes: 3072, IRVersion: 8, Opset: 17, Opsets: []report.Opset{{Version: 17}}, Nodes: 9,
				Producer: "pytorch 2.9.0"},
			Output: &out,
		},
		Settings: report.Settings{
			Recipe: "i:del,w:del,go:del h16 max", HistoryLen: 16, AmaxCompute: "max", Weights: "float8", Emit: "float8linear",
			Exclude: []string{"re:^debug"},
		},
		State:  report.State{DelayedLayers: 1},
		Layers: []report.Layer{fc1, kept, then, other, bad, scores},
		Changes: []report.Change{
			report.NewChange(report.ChangeOpsetLifted, "ai.onnx", 17, 19),
			report.NewChange(report.ChangeIRLifted, "model", 8, 9),
			report.NewChange(report.ChangeInputDropped, "fc1.weight", "fc1.weight"),
		},
		Warnings: []report.Warning{
			report.NewWarning(report.WarnUncalibrated, "model", 1),
			report.NewWarning(report.WarnPatternUnmatched, "re:^debug", report.Text("exclude"), "re:^debug"),
		},
		Volatile: report.Volatile{Time: "2026-01-02T03:04:05Z", DurationSeconds: 0.25, Host: "ci", OS: "linux", Arch: "amd64",
			Threads: 2, Version: "0.1.0", GoVersion: "go1.26.0"},
	}
	r.Finish()
	return r
}

// calibrated is a report of a calibration that uses every part of its section. Its numbers describe no real model.
func calibrated() *report.Report {
	r := sample()
	r.Kind, r.Layers, r.Changes = report.KindCalibrate, nil, nil
	r.Settings.Weights = "original"
	r.State = report.State{Calibrated: false, DelayedLayers: 2, InitializedLayers: 1}
	fc1 := report.CalibratedLayer{
		Name: "fc1", Node: "/fc1/Gemm", Op: "Float8LinearOriginalWeight", StepsRun: 3, Initialized: true,
		Input: report.CalibratedOperand{Scaling: report.ScalingDelayed, Amax: []report.Float32{3.5, 1.75, report.Float32(notANumber)},
			Scale: []report.Float32{128, 128, 128}, History: []report.Float32{1.75, 3.5}, QuantScale: report.NewQuantScale([]float32{128}, false),
			RejectedNaN: 1},
		Weight: &report.CalibratedOperand{Scaling: report.ScalingDelayed, Amax: []report.Float32{0.5, 0.5, 0.5},
			Scale: []report.Float32{896, 896, 896}, History: []report.Float32{0.5, 0.5}, QuantScale: report.NewQuantScale([]float32{896, 1792}, true)},
	}
	fc1.Input.SetCounts(4096, 4, 1024, 1)
	head := report.CalibratedLayer{
		Name: "head", Node: "", Graph: "If_3/then_branch", Op: "Float8LinearDynamic", StepsRun: 2,
		Input: report.CalibratedOperand{Scaling: report.ScalingDynamic, Amax: []report.Float32{-1, 0, 2}, RejectedZero: 1},
	}
	r.Calibration = &report.Calibration{
		Settings: report.CalibrationSettings{Data: "xxh64:60303ae22b998861", Steps: 3, BatchSize: 8, Rows: 20, Device: "cpu", AmaxInit: true,
			Shard: "1/2", Ranks: 1},
		Execution: report.Execution{Compute: "bfloat16", Accumulate: "fast", Placements: []report.Placement{
			{Model: report.ModelRewritten, Node: "/topk/TopK", Op: "TopK", Where: "cpu", Why: "no kernel for TopK"},
			{Model: report.ModelRewritten, Node: "/fc1/Gemm", Op: "Float8Linear", Layer: "fc1", Where: "bfloat16", Why: "K is 30, and float8 products want a multiple of 16"}}},
		GradOutput: report.GradInitial,
		Losses:     []report.Float64{2.5, 2.25, 2.125},
		Layers:     []report.CalibratedLayer{fc1, head},
	}
	r.Warnings = []report.Warning{report.NewWarning(report.WarnAmaxRejected, "fc1", report.Text("input"), "fc1", 1, 0)}
	r.Finish()
	return r
}

// verified is a report of a verification that uses every part of its section. Its numbers describe no real model.
func verified() *report.Report {
	r := sample()
	r.Kind, r.Layers, r.Changes, r.Warnings = report.KindVerify, nil, nil, nil
	r.State = report.State{Calibrated: true, DelayedLayers: 2, InitializedLayers: 2}
	metric := func(loss report.Float64, correct int64) *report.TaskMetric {
		return &report.TaskMetric{Rows: 64, Loss: loss, Perplexity: 2 * loss, Correct: correct, Accuracy: report.Float64(correct) / 64}
	}
	logits := report.VerifiedValue{Name: "logits", Value: "logits", Elements: 640, SQNRdB: 31.5, MaxAbs: 0.25, Cosine: 0.9990234375}
	r.Verification = &report.Verification{
		Settings: report.VerificationSettings{Data: "xxh64:60303ae22b998861", Batches: 8, BatchSize: 8, Rows: 64, Device: "cpu", Labels: "labels",
			Logits: "logits", Gates: []report.Gate{{Name: report.GateMaxLossIncrease, Limit: 0.01}}},
		Execution: report.Execution{Compute: "float32", Accumulate: "float32"},
		Models: []report.VerifiedModel{{
			Recipe: "i:del,w:del,go:del h16 max", Outputs: []report.VerifiedValue{logits},
			Layers: []report.VerifiedValue{
				{Name: "fc1", Value: "/fc1/Gemm_output_0", Elements: 1024, SQNRdB: 35.25, MaxAbs: 0.125, Cosine: 0.99951171875, NonFinite: 1},
				{Name: "head", SQNRdB: report.Float64(notANumber), Cosine: report.Float64(notANumber)},
			},
			Original: metric(1.25, 60), Rewritten: metric(1.28125, 59),
			Failures: []report.GateFailure{{Gate: report.GateMaxLossIncrease, Value: 0.03125}},
		}},
		Sensitivity: []report.LayerCost{
			{Name: "fc1", SQNRdB: 32.5, LossIncrease: new(report.Float64(0.0234375)), Correct: new(int64(-1))},
			{Name: "head", SQNRdB: 40, LossIncrease: new(report.Float64(-0.0009765625)), Correct: new(int64(0))},
		},
		Exclusion: &report.Exclusion{Layers: []string{"fc1"}, Met: true, Outputs: []report.VerifiedValue{logits}, Rewritten: metric(1.2490234375, 60)},
	}
	r.Finish()
	return r
}

// parts are the three reports about one model: sample, calibrated and verified with digests that follow one another.
func parts() []report.Part {
	made, after, judged := sample(), calibrated(), verified()
	final := *made.Model.Output
	final.Name, final.SHA256 = "tiny.calibrated.onnx", "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918"
	after.Model.Input, after.Model.Output = *made.Model.Output, &final
	judged.Model.Output = &final
	return []report.Part{{Name: "verify.json", Report: judged}, {Name: "convert.json", Report: made}, {Name: "calibrate.json", Report: after}}
}

// merged is the report that joins them.
func merged() *report.Report {
	r, err := report.Merge(parts())
	if err != nil {
		panic(err) // TestMergeJoinsTheSectionsOfOneModel says what is wrong
	}
	r.Volatile = sample().Volatile
	r.Finish()
	return r
}

// benched is a report of a benchmark that uses every part of its section. Its numbers describe no real model or card.
func benched() *report.Report {
	r := sample()
	r.Kind, r.Layers, r.Changes, r.Warnings = report.KindBench, nil, nil, nil
	r.State = report.State{Calibrated: true, DelayedLayers: 2, InitializedLayers: 2}
	number := func(f float64) *report.Float64 { return new(report.Float64(f)) }
	r.Bench = &report.Bench{
		Settings: report.BenchSettings{Device: "cuda:0", Runs: 30,
			Inputs: []report.BenchInput{{Name: "hidden_states", DType: "bfloat16", Shape: []int64{2, 4096, 4096}}}},
		Execution: report.Execution{Compute: "bfloat16", Accumulate: "fast", Placements: []report.Placement{{Model: report.ModelOriginal, Node: "/topk/TopK", Op: "TopK", Where: "cpu", Why: "no kernel for TopK"}}},
		Ceilings: []report.Ceiling{{Name: report.CeilingFloat8, Unit: "TFLOP/s", Value: 1400}, {Name: report.CeilingBFloat16, Unit: "TFLOP/s", Value: 700},
			{Name: report.CeilingMemory, Unit: "GB/s", Value: 4200}},
		Model: report.BenchedModel{Name: "tiny.fp8.onnx", Median: 2, Fastest: 1.875, Slowest: 2.25, FLOPs: 1.5e12, Rate: 750, WeightBytes: 1 << 24,
			ActivationBytes: 1 << 28, Parts: []report.BenchedPart{{Name: "matmul e4m3", Steps: 2, Time: 1.5, Bytes: 2.5e8, Rate: 166.5},
				{Name: "rms norm", Steps: 3, Time: 0.25, Bytes: 1e9, Rate: 4000}}},
		Against: &report.BenchedModel{Name: "tiny.onnx", Median: 3, Fastest: 2.75, Slowest: 3.5, FLOPs: 1.5e12, Rate: 500, WeightBytes: 1 << 25,
			ActivationBytes: 1 << 28},
		Layers: []report.BenchedLayer{
			{Name: "fc1", Tokens: 8192, OutFeatures: 4096, InFeatures: 4096, Kernel: "matmul e4m3 8192x4096x4096", Time: 0.25, Matmul: 0.21875, Rate: 1256.5,
				Memory: 471.875, OfCeiling: number(0.8975), Against: number(0.40625), Speedup: number(1.625)},
			{Name: "head", Tokens: 8192, OutFeatures: 64, InFeatures: 4096, Kernel: "matmul e4m3 8192x64x4096", Time: 0.0625, Matmul: 0.03125, Rate: 137.5,
				Memory: 560, OfCeiling: number(0.098), Against: number(0.03125), Speedup: number(0.5), Keep: true},
			{Name: "scores", Kernel: "cpu", Time: 0.5},
		},
		Shapes: []report.BenchedShape{{Tokens: 8192, Features: 256, Float8: 0.03125, BFloat16: 0.015625, Speedup: 0.5},
			{Tokens: 8192, Features: 1024, Float8: 0.0625, BFloat16: 0.09375, Speedup: 1.5}},
		Advice: &report.BenchAdvice{Keep: []string{"head"}, Exclude: []string{"head"}, MinDim: 4096, CardMinDim: 1024, Saved: 0.03125},
	}
	r.Volatile.Card = "NVIDIA H200, driver for CUDA 13.0, cuBLASLt 13.1.2"
	r.Volatile.Fallback = "libcuda was not found"
	r.Finish()
	return r
}
