// Package onnxio turns ONNX files into graph.Model and back. It is the only user of internal/onnxpb.
//
// It knows the protobuf container, where a tensor's bytes lie (in the file, in typed fields, in other files), the limits of the
// format, and the rules by which a model is written. It refuses to know what operators mean, whether nodes are sorted or typed
// correctly, and what happens to a model between opening and saving. A model file comes before it; rewrite comes after.
//
// A file is mapped, not read: an initializer is a view of the mapping, so that opening costs time and memory by the number of
// nodes and not by the size of the weights. Saving streams: only what is not raw tensor data is built in memory.
//
// Every element keeps the message that it was decoded from in its Origin. Saving starts from that message and changes only the
// fields whose value in the graph has changed, so fields that the graph does not model, unknown fields and explicit zero values
// survive, a tensor that nobody replaced keeps its encoding, and a model that nobody changed is written as it was, byte for byte
// (as long as its fields stood in the order in which protobuf libraries write them, and no tensor lay in another file).
//
// No number from a file reaches an allocation or a slice bound unchecked; each way in which a file can lie has an error of its own,
// which names the tensor or node.
package onnxio
