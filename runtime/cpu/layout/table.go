package layout

import "github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"

// Table is the package's operators.
func Table() kernel.Table {
	return kernel.Table{
		// reshape.go
		"Identity":  makeIdentity,
		"Reshape":   makeReshape,
		"Flatten":   makeFlatten,
		"Squeeze":   makeSqueeze,
		"Unsqueeze": makeUnsqueeze,
		"Shape":     makeShape,
		"Size":      makeSize,

		// transpose.go, join.go, slice.go, repeat.go
		"Transpose":    makeTranspose,
		"DepthToSpace": makeDepthToSpace,
		"SpaceToDepth": makeSpaceToDepth,
		"Concat":       makeConcat,
		"Split":        makeSplit,
		"Slice":        makeSlice,
		"Expand":       makeExpand,
		"Tile":         makeTile,

		// gather.go, scatter.go
		"Gather":          makeGather,
		"GatherElements":  makeGatherElements,
		"GatherND":        makeGatherND,
		"Compress":        makeCompress,
		"Scatter":         makeScatterElements,
		"ScatterElements": makeScatterElements,
		"ScatterND":       makeScatterND,
		"TensorScatter":   makeTensorScatter,

		// pad.go, fill.go, select.go, unique.go
		"Pad":             makePad,
		"CenterCropPad":   makeCenterCropPad,
		"Trilu":           makeTrilu,
		"ReverseSequence": makeReverseSequence,
		"ConstantOfShape": makeConstantOfShape,
		"EyeLike":         makeEyeLike,
		"Range":           makeRange,
		"OneHot":          makeOneHot,
		"NonZero":         makeNonZero,
		"Unique":          makeUnique,

		// sequence.go
		"SequenceConstruct":  makeSequenceConstruct,
		"SequenceEmpty":      makeSequenceEmpty,
		"SequenceInsert":     makeSequenceInsert,
		"SequenceErase":      makeSequenceErase,
		"SequenceAt":         makeSequenceAt,
		"SequenceLength":     makeSequenceLength,
		"SplitToSequence":    makeSplitToSequence,
		"ConcatFromSequence": makeConcatFromSequence,
		"Optional":           makeOptional,
		"OptionalHasElement": makeOptionalHasElement,
		"OptionalGetElement": makeOptionalGetElement,

		// resize.go, gridsample.go, col2im.go, roi.go, nms.go, image.go
		"Resize":            makeResize,
		"Upsample":          makeUpsample,
		"GridSample":        makeGridSample,
		"AffineGrid":        makeAffineGrid,
		"Col2Im":            makeCol2Im,
		"RoiAlign":          makeRoiAlign,
		"MaxRoiPool":        makeMaxRoiPool,
		"NonMaxSuppression": makeNonMaxSuppression,
		"ImageDecoder":      makeImageDecoder,

		// dft.go, window.go
		"DFT":             makeDFT,
		"STFT":            makeSTFT,
		"HannWindow":      window(hann),
		"HammingWindow":   window(hamming),
		"BlackmanWindow":  window(blackman),
		"MelWeightMatrix": makeMelWeightMatrix,

		// text.go, tfidf.go
		"StringNormalizer": makeStringNormalizer,
		"StringConcat":     makeStringConcat,
		"StringSplit":      makeStringSplit,
		"RegexFullMatch":   makeRegexFullMatch,
		"TfIdfVectorizer":  makeTfIdfVectorizer,

		// gather.go, label.go, tree.go
		"ai.onnx.ml.ArrayFeatureExtractor": makeArrayFeatureExtractor,
		"ai.onnx.ml.LabelEncoder":          makeLabelEncoder,
		"ai.onnx.ml.Binarizer":             makeBinarizer,
		"ai.onnx.ml.Scaler":                makeScaler,
		"ai.onnx.ml.Normalizer":            makeNormalizer,
		"ai.onnx.ml.TreeEnsemble":          makeTreeEnsemble,
	}
}
