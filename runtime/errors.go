package runtime

import (
	"fmt"
	"strings"
)

// UnavailableError says that an engine cannot be used on this machine, and where its parts were looked for.
type UnavailableError struct {
	Backend string
	Looked  []string // files and variables that were tried, each with what was found
	Err     error
}

// Error names the engine, the cause and where it looked.
func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("device %q is not available: %v", e.Backend, e.Err)
	if len(e.Looked) > 0 {
		s += "; looked at " + strings.Join(e.Looked, ", ")
	}
	return s
}

// Unwrap is the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// UnsupportedError says that an engine cannot execute a node.
type UnsupportedError struct {
	Backend string
	Node    string // the node's name
	Op      string // with its domain where that is not ONNX's own
	Opset   int64
	Why     string // "" where the operator as a whole is missing
}

// Error names node, operator and cause.
func (e *UnsupportedError) Error() string {
	why := e.Why
	if why == "" {
		why = "no such operator"
	}
	return fmt.Sprintf("%s: node %q: %s (opset %d): %s", e.Backend, e.Node, e.Op, e.Opset, why)
}

// InputError says that an input does not fit the model.
type InputError struct{ Input, Got, Want string }

// Error names the input, what it is and what is wanted.
func (e *InputError) Error() string {
	return fmt.Sprintf("input %q: %s, want %s", e.Input, e.Got, e.Want)
}

// NodeError says that a node could not compute its outputs from what it was given.
type NodeError struct {
	Node, Op string
	Err      error
}

// Error names node and operator.
func (e *NodeError) Error() string { return fmt.Sprintf("node %q: %s: %v", e.Node, e.Op, e.Err) }

// Unwrap is the cause.
func (e *NodeError) Unwrap() error { return e.Err }

// MemoryError says that a run needs more memory than it may have, or than there is.
type MemoryError struct {
	Need, Have int64 // bytes
	For        string
	Of         string // the memory that has only Have bytes free, such as "NVIDIA H200"; "" where Options.MaxMemory set the bound
}

// Error gives both numbers.
func (e *MemoryError) Error() string {
	if e.Of != "" {
		return fmt.Sprintf("%s needs %d bytes of %s, and %d are free", e.For, e.Need, e.Of, e.Have)
	}
	return fmt.Sprintf("%s needs %d bytes, and %d are allowed", e.For, e.Need, e.Have)
}
