// Package checkpoint converts checkpoints, .safetensors files and folders of them, to float8 and back.
//
// Open finds the files of a checkpoint. NewConversion finds its linear layers by config.json, name and shape, decides about each and refuses what the
// loader of the chosen layout would refuse; NewRestoration finds the float8 weights of any layout by the tensors that stand beside them. Both give a
// Job, which Run writes: shard by shard, tensors in parallel, beside the target and moved there whole. What is done is in a journal, so that a
// run that was killed goes on and ends with the same bytes.
//
// It knows names of layers, shards, journals. It refuses to know how a layout is spelled (checkpoint/layout, beneath it), graphs and engines.
// safetensors, float8 and report come before it; the commands come after it.
//
// # Memory
//
// Files are mapped. A worker holds one piece of a tensor at a time; nothing as large as a tensor is held.
package checkpoint
