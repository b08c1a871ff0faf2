// Package graph is a model as data: nodes, values, initializers, attributes, functions. Names connect them, as in ONNX, and a
// subgraph sees the names of the graphs around it.
//
// It knows structure: who produces a value, who uses it, which names are taken. It refuses to know files, protobuf, the meaning
// of operators and floating-point formats. The codecs (onnxio) come before it and after it; rewrite changes it; ops describes the
// one operator that this project adds.
//
// Whatever a codec read and this package does not model stays in the Origin of the element that carried it. The codec that wrote
// the Origin is the only one who looks inside; everybody else copies it along when an element is cloned, and leaves it out of
// elements made anew.
package graph
