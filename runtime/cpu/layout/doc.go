// Package layout holds the operators of the CPU engine that move elements rather than compute with them: shapes, slices, gathers and
// scatters, padding, resampling of pictures, regions, sequences and optionals, strings, labels and trees, and the transforms and windows
// of signals. The ONNX operator specification (1.22, opsets 7 to 26) says what each of them does, the schema's text before its reference
// implementation where the two differ, except where the project's own node tests side with the latter.
//
// It knows elements by their width: what is only moved is moved bit for bit, whatever the type, strings included. A shape that only
// changes its spelling is a view of the same memory. Where numbers are needed, floats narrower than float32 and integers are computed in
// float64 and rounded once; integers round to even and saturate. Nearest places in Resize by scales are computed in float32, the type
// of the scales.
//
// Every index, extent and length that comes from data is checked before it is used, and no memory is asked for by an unchecked one. The
// extents of an empty tensor are not bounded by any memory; nothing is allocated by them and nothing walks along them.
//
// It refuses to know the graph and the other rooms: a [kernel.Maker] sees one node, a [kernel.Func] its inputs. If, Loop, Scan,
// SequenceMap and Constant are the engine's (runtime/cpu), which comes after it; kernel comes before it.
package layout
