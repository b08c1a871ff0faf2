// Package calibrate runs batches through a rewritten model and fills the delayed-scaling state of its Float8Linear layers.
//
// It knows the loop: which part of a batch this process takes, what a layer's amaxes do to its state, when a step is saved, how the
// parts of a run that was spread out come together again, and what in the course of the amaxes deserves a warning. It refuses to
// know engines (it sees runtime's interfaces alone), files (batches, checkpoints and models come and go as values) and the
// library that carries a reduction from one process to another (beneath it, mpi).
//
// rewrite made the model that comes in; the model that goes out is a copy with other contents in some initializers, and the rows
// of the report say how they came about. verify comes after it.
//
// # What a step does
//
// Run casts with the scales that stand in the model, observes, and moves every delayed operand's state once (scaling.State). An
// operand that has no observation yet, and is to have its first scale from its own amax, runs in its dynamic form: the model is
// executed with the layer's dynamic variant in its place, which every backend can do, until it has been observed. Without amax
// initialization its first scale is the stored one, 1.
//
// Of a weight stored as float8 nothing moves. An original weight is cast and observed at every step. Scales made in the run
// (dynamic variants) are observed and reported, and change nothing. The state of the gradient of the output stays as it is: there
// is no backward pass.
//
// # Spread over processes
//
// The ranks of a Group divide the rows of every step and join their amaxes before the states move, so that each of them holds
// the state of one process: bit by bit on an engine that computes a row alike whatever stands beside it. A model whose rows depend
// on each other is refused, which two rows, together and each alone, tell before the first step. A Shard does its part of every
// step alone, with its own scales, and Merge joins the models of all shards: its histories are the maxima of the shards'
// histories, step by step. The amaxes of later layers depend on the scales of earlier ones, so merged histories are near those of
// one run and not equal to them.
//
// # What stands in the model
//
// MetadataKey in the model's metadata says how the state came about: steps, shard, and for operands that missed a step, which
// steps their history is from; of what data, and in what batches, so that Merge joins the shards of one run alone. A model whose
// scales were frozen says so there, keeps its histories, and is refused by a later Run that is not forced, as is a shard that was
// not merged.
package calibrate
