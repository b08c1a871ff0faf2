// Package verify says what a rewritten model costs: it runs the original and the rewritten model on the same batches and compares their
// outputs, each layer's output, and a task metric.
//
// It knows measures (SQNR, cosine, largest error, cross-entropy, accuracy), gates, and how to find the layers that cost most. It refuses to
// know files, engines and how a model is rewritten: models, a runtime.Backend and functions that make variants of a model are
// given to it. calibrate comes before it; the command's report comes after it.
package verify
