// Package cpu is the engine that every build carries: ONNX models in pure Go on the processor's threads.
//
// It knows how a graph becomes a program: names become numbered slots, functions are expanded, constants folded, neighbouring
// operators fused; and how a program runs: in order, each value released after its last reader, into memory that the next one
// reuses. It knows the operators that hold graphs (If, Loop, Scan, SequenceMap). It refuses to know what any other operator
// computes: those are the tables of the packages beneath it (arith, layout, nn, linear), over the common ground in kernel. runtime
// is the contract that it keeps; graph, ops, tensor and shape come before it; calibrate and verify come after it, through runtime
// alone.
package cpu
