package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/report/render"
	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda"
	"github.com/fp8rewrite/fp8rewrite/runtime/ort"
)

func newDevices() *cobra.Command {
	var asJSON bool
	var ortLib string
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List the engines and GPUs that models can run on",
		Long: `devices lists what --device can be on this machine: the embedded engine, the GPUs with the libraries that they need, and an ONNX Runtime
library. Of a library that is missing it lists every place where it was looked for, in order.

Exit status: 0 done, whatever was found, 2 wrong usage.`,
		Example: `  fp8rewrite devices
  fp8rewrite devices --json
  FP8REWRITE_CUBLASLT_LIB=/usr/local/cuda/lib64 fp8rewrite devices`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := findDevices(ortLib)
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), d)
			}
			return d.write(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "print JSON instead of text")
	f.StringVar(&ortLib, "ort-lib", "", "libonnxruntime to look at (default: $FP8REWRITE_ORT_LIB, then the usual places)")
	completeAnyFile(cmd, "ort-lib")
	return cmd
}

// devices is what --device can be, as devices --json prints it.
type devices struct {
	CPU  cpuDevice  `json:"cpu"`
	CUDA cudaDevice `json:"cuda"`
	ORT  library    `json:"ort"`
}

type cpuDevice struct {
	Threads int    `json:"threads"`
	Arch    string `json:"arch"`
}

type cudaDevice struct {
	Usable    bool      `json:"usable"` // --device cuda works, with one of the cards
	Error     string    `json:"error"`  // why not
	Driver    string    `json:"driver"` // version of the NVIDIA driver; "" where the system does not tell
	Libraries []library `json:"libraries"`
	Cards     []card    `json:"cards"`
}

type library struct {
	Name    string   `json:"name"`
	Found   bool     `json:"found"`
	Path    string   `json:"path"`
	Version string   `json:"version"` // of libcuda the newest CUDA that it serves
	Error   string   `json:"error"`
	Looked  []string `json:"looked"` // every place, in order, and what came of it
}

type card struct {
	Device     string `json:"device"` // for --device
	Name       string `json:"name"`
	Usable     bool   `json:"usable"`
	Error      string `json:"error"`
	Capability string `json:"compute_capability"`
	SMs        int    `json:"multiprocessors"`
	Memory     int64  `json:"memory_bytes"`
	Free       int64  `json:"free_bytes"` // 0 where the card cannot be asked
	L2         int64  `json:"l2_bytes"`
}

// findDevices looks at the machine.
func findDevices(ortLib string) devices {
	d := devices{CPU: cpuDevice{goruntime.GOMAXPROCS(0), goruntime.GOARCH}}
	found := cuda.Look()
	d.CUDA = cudaDevice{Usable: found.Err == nil, Error: text(found.Err), Driver: found.Driver, Cards: []card{}}
	for _, l := range found.Libraries {
		d.CUDA.Libraries = append(d.CUDA.Libraries, library{l.Name, l.Err == nil, l.Path, l.Version, text(l.Err), append([]string{}, l.Looked...)})
	}
	for _, c := range found.Cards {
		d.CUDA.Cards = append(d.CUDA.Cards, card{fmt.Sprintf("cuda:%d", c.Index), c.Name, c.Err == nil, text(c.Err), fmt.Sprintf("%d.%d", c.Major, c.Minor),
			c.SMs, c.Memory, c.Free, c.L2})
	}
	d.ORT = library{Name: "libonnxruntime", Looked: []string{}}
	o := ort.New(ortLib)
	if err := o.Check(); err != nil {
		d.ORT.Error = text(err)
		var unavailable *runtime.UnavailableError
		if errors.As(err, &unavailable) {
			d.ORT.Error, d.ORT.Looked = text(unavailable.Err), append(d.ORT.Looked, unavailable.Looked...)
		}
	} else {
		d.ORT.Found = true
		d.ORT.Version, d.ORT.Path = o.Version()
	}
	return d
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return oneLine(err.Error())
}

// writeJSON writes what a command says in the form of --json.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// write lists the devices for people.
func (d devices) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "cpu     the embedded engine, %s, %s\n", counted(d.CPU.Threads, "thread"), d.CPU.Arch)
	c := &d.CUDA
	switch {
	case !c.Usable:
		fmt.Fprintf(&b, "cuda    cannot be used: %s\n", c.Error)
	case c.Driver != "":
		fmt.Fprintf(&b, "cuda    NVIDIA driver %s\n", oneLine(c.Driver))
	default:
		fmt.Fprintf(&b, "cuda    NVIDIA GPUs\n")
	}
	for _, l := range c.Libraries {
		l.write(&b)
	}
	for _, g := range c.Cards {
		fmt.Fprintf(&b, "  %-6s  %s, compute capability %s, %d multiprocessors, %s", g.Device, oneLine(g.Name), g.Capability, g.SMs, render.Size(g.Memory))
		if g.Free > 0 {
			fmt.Fprintf(&b, " (%s free)", render.Size(g.Free))
		}
		fmt.Fprintln(&b)
		if !g.Usable && g.Error != c.Error {
			fmt.Fprintf(&b, "          cannot be used: %s\n", g.Error)
		}
	}
	if d.ORT.Found {
		fmt.Fprintf(&b, "ort     an ONNX Runtime library\n")
	} else {
		fmt.Fprintf(&b, "ort     cannot be used: %s\n", d.ORT.Error)
	}
	d.ORT.write(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// write says what was found of a library and where, or everywhere that it was looked for.
func (l library) write(b *strings.Builder) {
	if l.Found {
		version := l.Version
		if l.Name == "libcuda" {
			version = "for CUDA " + version
		}
		fmt.Fprintf(b, "  %s %s: %s\n", l.Name, version, oneLine(l.Path))
		return
	}
	if l.Path != "" { // it was opened, and is not what it should be
		fmt.Fprintf(b, "  %s cannot be used: %s\n", l.Name, l.Error)
	} else {
		fmt.Fprintf(b, "  %s is missing\n", l.Name)
	}
	for _, place := range l.Looked {
		fmt.Fprintf(b, "    %s\n", oneLine(place))
	}
}
