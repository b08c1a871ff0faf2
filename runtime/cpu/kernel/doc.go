// Package kernel is what the operators of the CPU engine share: tensors in memory, the arena that their bytes come from, the workers that
// compute, and the form of an operator.
//
// It knows memory layout and threads. It refuses to know any operator: those lie in the packages beside it (arith, layout, nn, linear), each
// of which hands out a [Table]. The engine (runtime/cpu) joins the tables, gives every node of a model its [Func], and calls it with
// values.
package kernel
