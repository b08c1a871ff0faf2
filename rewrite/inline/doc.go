// Package inline puts the bodies of model-local functions in place of their calls.
//
// It knows ONNX's rules for functions: formal and actual names, attributes bound to those of the call, defaults, arguments left
// out, opset imports of their own. It refuses to know what operators mean: where a body was written for another version of an
// operator set than its new home, the caller's Lift translates it, or the call is an error. Which functions are worth inlining is
// the caller's decision too.
//
// graph comes before it; the rules of rewrite, which look for linear layers in graphs and not in functions, come after it.
package inline
