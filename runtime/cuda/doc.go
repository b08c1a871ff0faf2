// Package cuda is the engine that runs a model on an NVIDIA GPU: float8 products on the tensor cores, fused kernels around them, and a
// recorded graph of launches for each set of input shapes.
//
// A run goes through four rooms. specialize makes the model static for the shapes of its inputs, program turns that into steps over
// planned memory, and this package uploads the weights, launches the steps, records them, and reads outputs and statistics back; driver,
// lt and kernels are what it launches with. What the GPU cannot run is run by another engine, the host, between the steps.
//
// It knows devices, memory, streams and sessions. It refuses to know operators: which node becomes which kernel is program's. It opens
// no library before [Backend.Check], [Look] or [Backend.Open] is called, so that it is in every build, and a machine without a GPU gets an
// error that says where was looked. runtime and the rooms beneath come before it; only commands come after it.
package cuda
