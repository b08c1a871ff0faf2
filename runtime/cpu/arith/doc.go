// Package arith holds the operators of the CPU engine that compute element by element or fold elements into fewer: arithmetic, comparison,
// activations, casts, quantization, reductions, sorting out the largest, normalization to a distribution, random numbers, and the update
// steps of optimizers. The ONNX operator specification (1.22, opsets 6 to 26) says what each of them does; com.microsoft operators are
// as ONNX Runtime documents them.
//
// It knows the element types and their rules:
//
//   - Integers wrap. Division truncates; dividing by zero gives 0.
//   - float16 and bfloat16 are computed in float32, or in float64 where sums are, and rounded once at the end of the operator.
//   - A NaN stays one: in Max, Min, Relu, Clip, ReduceMax and the like. Comparisons with it are false, ArgMax and TopK take it for the
//     largest.
//   - Round goes to even. Casts round once from the exact value, those to float8 as package float8 has it.
//   - Random numbers are the same in every run: an operator draws from a generator that its seed, or else its output's name, starts.
//
// A reduction joins its elements in an order that their number alone decides, so that a row's result depends neither on the rows beside it
// nor on the number of threads. Elementwise results do not depend on an element's place.
//
// It refuses to know the graph: a [kernel.Maker] sees one node, a [kernel.Func] its inputs. Package vec comes before it, with the loops that
// have vector instructions; the engine (runtime/cpu) comes after it.
package arith
