// Command liftopset lifts ONNX files to a version of ONNX's own operator set, for opset_lift.py: one line of output per pair of
// files, "lifted N" with the number of conversions, "blocked: …", or "error: …".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/onnxio"
	"github.com/fp8rewrite/fp8rewrite/rewrite/opset"
)

func main() {
	to := flag.Int64("to", 19, "target version")
	flag.Parse()
	if flag.NArg()%2 != 0 {
		fmt.Fprintln(os.Stderr, "usage: liftopset -to VERSION [IN OUT]...")
		os.Exit(2)
	}
	for i := 0; i < flag.NArg(); i += 2 {
		n, err := lift(flag.Arg(i), flag.Arg(i+1), *to)
		var blocked opset.Blockers
		switch {
		case errors.As(err, &blocked):
			fmt.Println("blocked:", strings.ReplaceAll(err.Error(), "\n", " | "))
		case err != nil:
			fmt.Println("error:", err)
		default:
			fmt.Println("lifted", n)
		}
	}
}

func lift(in, out string, to int64) (int, error) {
	f, err := onnxio.Open(in)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	res, err := opset.Lift(f.Model, to)
	if err != nil {
		return 0, err
	}
	_, err = onnxio.Save(context.Background(), out, f.Model, onnxio.SaveOptions{})
	return len(res.Changes), err
}
