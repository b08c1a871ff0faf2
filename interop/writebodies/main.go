// Command writebodies writes, for bodies.py, one model per opset that holds no nodes and every function of Float8Linear:
// DIR/19.onnx for opset 19.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/ops"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: writebodies DIR OPSET...")
		os.Exit(2)
	}
	for _, arg := range os.Args[2:] {
		if err := write(os.Args[1], arg); err != nil {
			fmt.Fprintln(os.Stderr, "writebodies:", err)
			os.Exit(1)
		}
	}
}

func write(dir, version string) error {
	v, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return err
	}
	m := &graph.Model{IRVersion: ops.MinIRVersion, Graph: &graph.Graph{Name: "none"}}
	m.SetOpset("", v)
	for _, variant := range ops.Variants() {
		if _, err := ops.Declare(m, variant); err != nil {
			return err
		}
	}
	_, err = onnxio.Save(context.Background(), filepath.Join(dir, version+".onnx"), m, onnxio.SaveOptions{})
	return err
}
