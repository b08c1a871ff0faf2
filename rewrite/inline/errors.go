package inline

import (
	"fmt"
	"strings"
)

// OpsetError says that a function was written for another version of an operator set than the place of its call, and that its
// nodes could not be translated.
type OpsetError struct {
	Function string
	Call     string // the calling node
	Domain   string // "" is ONNX's own
	From, To int64  // the function's version and the version at the call; To is 0 for none
	Err      error  // why the translation failed; nil when there was none to try
}

// Error names the function, the call, the domain and both versions.
func (e *OpsetError) Error() string {
	domain := e.Domain
	if domain == "" {
		domain = "ai.onnx"
	}
	s := fmt.Sprintf("inline: node %q: function %q imports %q at version %d, the caller at %d", e.Call, e.Function, domain, e.From, e.To)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap is why the translation failed.
func (e *OpsetError) Unwrap() error { return e.Err }

// RecursionError says that a function calls itself, through the others of the chain.
type RecursionError struct{ Chain []string }

// Error spells the chain.
func (e *RecursionError) Error() string {
	return "inline: recursive functions: " + strings.Join(e.Chain, " calls ")
}

// SizeError says that inlining would make more nodes than a model can reasonably have: functions that call others several times
// grow exponentially with their depth, and the file is small all the same.
type SizeError struct {
	Function string
	Limit    int
}

// Error names the function at which the limit was reached.
func (e *SizeError) Error() string {
	return fmt.Sprintf("inline: function %q: inlining makes more than %d nodes", e.Function, e.Limit)
}
