// Package interop holds the judges that share nothing with the rest of this module: Python programs that have onnx and ONNX
// Runtime check, load and run what it makes. `make interop` runs all but corpus.py, in two virtual environments (`make venvs`) whose
// packages requirements-newest.txt and requirements-121.txt pin.
//
// These judge what the command writes; they know the command line, the report's JSON and the definition of Float8Linear:
//   - models.py converts testdata/models in several ways,
//   - corpus.py (`make corpus`) converts a folder of models written by others, and writes docs/CORPUS.md; corpus_test.go runs it
//     where the folder is there,
//   - rewrite_cases.py converts a minimal model for each way in which a layer can stand in a graph,
//   - qdq.py lowers calibrated models with --emit qdq,
//   - checkpoints.py converts small checkpoints to every layout and recomputes them in numpy (make interop); checkpoints_gpu.py and
//     checkpoints_families.py load converted ones with transformers, where torch is.
//
// These judge one package each, through a Go program that does the package's part and no more:
//   - bodies.py holds every function body of ops against the formula; writebodies (imports graph, onnxio, ops) writes them,
//   - observe.py runs layers inside If, Loop and Scan; exposeamax (graph, onnxio, ops, rewrite/observe) makes their amaxes outputs,
//   - opset_lift.py runs operators before and after a lift; liftopset (onnxio, rewrite/opset) lifts.
//
// What a layer must give is formula.py's: Float8Linear in numpy, written from its definition alone. models.py and corpus.py share
// driver.py, which runs a conversion and keeps a worker.py in each environment, so that a runtime that crashes takes down one
// question and not the run.
//
// The package itself has no code and refuses to know the other packages. Nothing comes after it.
package interop
