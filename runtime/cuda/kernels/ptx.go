package kernels

import (
	"embed"
	"fmt"
	"strings"
)

//go:generate go run ./internal/ptxgen

//go:embed ptx/*.ptx
var ptx embed.FS

// moduleImage is the PTX of one source file.
func moduleImage(module string) ([]byte, error) { return ptx.ReadFile("ptx/" + module + ".ptx") }

// kernelImage is the PTX of one kernel: that of its source file without the others. The driver compiles what it is given whole, most
// kernels in a tenth of a second, all in ten, and a program uses a few.
func kernelImage(e Entry) ([]byte, error) {
	b, err := moduleImage(e.Module)
	if err != nil {
		return nil, err
	}
	const entry, next = "\n.visible .entry ", "\n\t// .globl\t"
	head, _, _ := strings.Cut(string(b), entry)
	_, rest, found := strings.Cut(string(b), entry+e.Name+"(")
	if !found {
		return nil, fmt.Errorf("ptx/%s.ptx has no kernel %q", e.Module, e.Name)
	}
	body, _, _ := strings.Cut(rest, next)
	return []byte(head + entry + e.Name + "(" + strings.TrimRight(body, "\n") + "\n"), nil
}
