// Package interop holds the judges that share nothing with the rest of this module: Python programs that have onnx and ONNX
// Runtime check, load and run converted models. models.py (`make interop`) takes testdata/models, corpus.py (`make corpus`) a folder of
// models written by others.
//
// It knows the command line, the report's JSON and the definition of Float8Linear. It refuses to know the Go packages. Nothing comes
// after it.
package interop
