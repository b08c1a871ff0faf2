package opset

import (
	"fmt"
	"strings"
)

// Blocked says why one node keeps a model at its version.
type Blocked struct {
	Where  string // the function that holds the node, "" for the model's graphs
	Node   string // the node's name, or its first output where it has none; "" when the whole model is meant
	OpType string
	Reason string
}

// Error is the reason with its place.
func (b *Blocked) Error() string {
	var s strings.Builder
	s.WriteString("opset: ")
	if b.Where != "" {
		fmt.Fprintf(&s, "function %q: ", b.Where)
	}
	if b.Node != "" || b.OpType != "" {
		fmt.Fprintf(&s, "node %q (%s): ", b.Node, b.OpType)
	}
	s.WriteString(b.Reason)
	return s.String()
}

// Blockers is every reason that a lift met; errors.As finds each *Blocked in it.
type Blockers []*Blocked

// Error is one line per reason.
func (bs Blockers) Error() string {
	lines := make([]string, len(bs))
	for i, b := range bs {
		lines[i] = b.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the reasons one by one.
func (bs Blockers) Unwrap() []error {
	out := make([]error, len(bs))
	for i, b := range bs {
		out[i] = b
	}
	return out
}
