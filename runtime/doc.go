// Package runtime is the contract between the stages that need a model executed (calibrate, verify) and the engines that execute it.
//
// It knows what goes in (a graph, named values), what comes out (named values, what each Float8Linear saw) and how a failure is told.
// It refuses to know any engine, any file and what the numbers are for. graph and tensor come before it; its backends lie beneath it
// (cpu, ort), and runtimetest is the suite that each of them passes. Only a command knows which backends exist.
//
// The standard library has a package of the same name: import that one as goruntime.
package runtime
