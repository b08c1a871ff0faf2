// Package family builds graphs from checkpoints: from a folder's config.json and its tensors the same graph.Model that an ONNX file becomes, so that
// batches can run through a model that was never exported.
//
// It knows what the families of Hugging Face transformers compute, one file for each kind of model: which settings they have, what their tensors are
// called, and how those become operators. It refuses to know files, engines and float8. checkpoint comes before it and gives the folder; rewrite,
// calibrate and verify come after it and see a graph like any other.
//
// # What is refused
//
// A model that is computed a little differently gives scales that look right and are not. So a setting that is not understood is an error, and so
// are one that contradicts another or the tensors, a tensor of another shape than the settings say, one that is missing, and one that the graph does
// not use. Settings that change no number (dropout, initialization, tokens, how text is generated) are passed over by name.
//
// # The graph
//
// Inputs are input_ids [batch, seq] and, where they are asked for, attention_mask and token_type_ids, all int64; the output is logits [batch, seq,
// vocabulary], or what the architecture gives instead. The arithmetic is float32, as transformers does it with dtype=float32. Weights are the
// checkpoint's tensors where they lie, with a Cast behind those of 16 bits, which stages and engines see through. A linear layer is a MatMul
// that carries its module's name, so that rewrite calls it as the checkpoint does: model.layers.0.self_attn.q_proj.
package family
