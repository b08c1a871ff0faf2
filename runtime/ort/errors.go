package ort

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime"
)

// statusError is a status of ONNX Runtime's.
type statusError struct {
	code    int32
	message string
}

func (e *statusError) Error() string { return e.message }

// location is where in ONNX Runtime's own source a message was made.
var location = regexp.MustCompile(`\S+\.(?:cc|cpp|cu|h|hpp):\d+ `)

// clean is a message without what only ONNX Runtime's authors can read: the source file, the function's signature, the stack.
func clean(s string) string {
	s, _, _ = strings.Cut(s, "\nStacktrace:")
	for {
		at := location.FindStringIndex(s)
		if at == nil {
			break
		}
		s = s[:at[0]] + afterSignature(s[at[1]:])
	}
	return strings.Join(strings.Fields(s), " ")
}

// afterSignature is what follows a C++ signature in s, such as "void f(int) const text"; s itself where none stands there.
func afterSignature(s string) string {
	s = strings.TrimSpace(s)
	depth, from := 0, strings.IndexByte(s, '(')
	if from < 0 || !strings.ContainsAny(s[:from], ": ") {
		return s
	}
	for i := from; i < len(s); i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth > 0 {
			continue
		}
		rest := s[i+1:]
		switch {
		case strings.HasPrefix(rest, "("):
			continue // of "operator()(int)"
		case strings.HasPrefix(rest, "::"):
			// of "(anonymous namespace)::f(int)"
			return afterSignature(rest)
		}
		rest = strings.TrimPrefix(strings.TrimSpace(rest), "const ")
		if strings.HasPrefix(rest, "[with ") {
			if end := strings.Index(rest, "] "); end >= 0 {
				rest = rest[end+2:]
			}
		}
		return rest
	}
	return s
}

// The forms in which ONNX Runtime names a node.
var (
	ranNode    = regexp.MustCompile(`^Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: (.*)$`)
	noKernel   = regexp.MustCompile(`Could not find an implementation for (\S+?)\((-?\d+)\) node with name '(.*?)'`)
	noFunction = regexp.MustCompile(`(\S+)\((-?\d+)\) is not a registered function/op`)
	noSchema   = regexp.MustCompile(`Error in Node:\s?(.*?) : No Op registered for (\S+) with domain_version of (-?\d+)`)
	noSchemaIn = regexp.MustCompile(`In Node, \("(.*?)", (\S+), "(.*?)", -?\d+\) : .*Error No (?:Op registered|opset import) for (?:\S+ with domain_version of (-?\d+)|domain)`)
	newOpset   = regexp.MustCompile(`Opset (\d+) is under development`)
	badType    = regexp.MustCompile(`Type '.*' of (?:input|output) parameter \(.*?\) of operator \((.*?)\) in node \((.*?)\) is invalid`)
)

// openError is what a failure to make a session of model means in the words of package runtime.
func openError(model *graph.Model, err error) error {
	status, ok := errors.AsType[*statusError](err)
	if !ok {
		return err
	}
	unsupported := func(node, op, opset, why string) error {
		n, _ := strconv.ParseInt(opset, 10, 64)
		return &runtime.UnsupportedError{Backend: name, Node: node, Op: op, Opset: n, Why: why}
	}
	if m := noKernel.FindStringSubmatch(status.message); m != nil {
		return unsupported(m[3], m[1], m[2], "ONNX Runtime has no implementation for these element types")
	}
	if m := noFunction.FindStringSubmatch(status.message); m != nil {
		return unsupported(findOp(model, m[1]))
	}
	if m := noSchema.FindStringSubmatch(status.message); m != nil {
		return unsupported(m[1], m[2], m[3], "")
	}
	if m := noSchemaIn.FindStringSubmatch(status.message); m != nil {
		op := m[2]
		if m[3] != "" {
			op = m[3] + ":" + op
		}
		return unsupported(m[1], op, m[4], "")
	}
	if m := badType.FindStringSubmatch(status.message); m != nil {
		return unsupported(m[2], m[1], strconv.FormatInt(model.OpsetVersion(""), 10), status.message)
	}
	if m := newOpset.FindStringSubmatch(status.message); m != nil {
		return fmt.Errorf("%s: this ONNX Runtime does not know opset %s, which the model imports", name, m[1])
	}
	return fmt.Errorf("%s: %w", name, status)
}

// findOp describes the first node of operator op, such as "com.example:Attention", of which ONNX Runtime does not say where it stands.
func findOp(model *graph.Model, op string) (node, name, opset, why string) {
	domain, typ, ok := strings.Cut(op, ":")
	if !ok {
		domain, typ = "", op
	}
	model.Graph.Walk(func(g *graph.Graph) {
		for _, n := range g.Nodes {
			if node == "" && n.OpType == typ && graph.CanonicalDomain(n.Domain) == graph.CanonicalDomain(domain) {
				node = n.Name
			}
		}
	})
	return node, op, strconv.FormatInt(model.OpsetVersion(domain), 10), ""
}

// runError is what a failed run means in the words of package runtime.
func runError(err error) error {
	status, ok := errors.AsType[*statusError](err)
	if !ok {
		return err
	}
	if m := ranNode.FindStringSubmatch(status.message); m != nil {
		return &runtime.NodeError{Node: m[2], Op: m[1], Err: &statusError{code: status.code, message: m[3]}}
	}
	return fmt.Errorf("%s: %w", name, status)
}
