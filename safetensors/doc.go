// Package safetensors reads and writes .safetensors files, and sets of them with an index.
//
// It knows the container: eight bytes of length, a JSON header, the tensors' bytes one after the other. It refuses to know what the
// tensors are for, how checkpoints name them, and where a file is written to: Write takes a stream. tensor and internal/mapfile come
// before it; samples and the readers of checkpoints come after.
//
// A file is mapped, and its tensors are views of the mapping. No number in a header is believed: each way in which a file can lie has
// an error of its own. The format is that of huggingface/safetensors; where a header says what that format leaves open (an unknown key
// beside dtype, shape and data_offsets, more than 64 axes), the file is refused.
package safetensors
