package kernels

import "embed"

//go:generate go run ./internal/ptxgen

//go:embed ptx/*.ptx
var ptx embed.FS

// moduleImage is the PTX of one source file.
func moduleImage(module string) ([]byte, error) { return ptx.ReadFile("ptx/" + module + ".ptx") }
