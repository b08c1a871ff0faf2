// Command exposeamax makes the amaxes of ONNX files' Float8Linear layers outputs, for observe.py: one line of output per pair of
// files, a JSON list of the layers with the names of their outputs, or {"error": …}. Function bodies that a file lacks are added.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
	"github.com/fp8rewrite/fp8rewrite/rewrite/observe"
)

func main() {
	if len(os.Args)%2 != 1 {
		fmt.Fprintln(os.Stderr, "usage: exposeamax [IN OUT]...")
		os.Exit(2)
	}
	out := json.NewEncoder(os.Stdout)
	for i := 1; i < len(os.Args); i += 2 {
		var line any
		found, err := expose(os.Args[i], os.Args[i+1])
		if line = found; err != nil {
			line = map[string]string{"error": err.Error()}
		}
		if err := out.Encode(line); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func expose(in, out string) ([]observe.Observed, error) {
	f, err := onnxio.Open(in)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := f.Model
	have := map[string]bool{}
	for _, fn := range m.Functions {
		have[fn.Name] = true
	}
	graph.WalkNodes(m.Graph.Nodes, func(n *graph.Node) {
		if v, ok := ops.ParseVariant(n.OpType); ok && n.Domain == ops.Domain && !have[n.OpType] {
			have[n.OpType] = true
			m.Functions = append(m.Functions, ops.Body(v, m.OpsetVersion("")))
		}
	})
	found, err := observe.Expose(m)
	if err != nil {
		return nil, err
	}
	_, err = onnxio.Save(context.Background(), out, m, onnxio.SaveOptions{})
	return found, err
}
