// Command asmgen writes the kernels of package gemm: those of amd64 with avo, those of arm64 by itself. It is a module of its own so that its
// generator does not become a requirement of the package.
//
// A tile kernel has the Go signature func(t *tile), with the fields at the offsets below, and computes as many rows as its name ends with.
// Its sums stay in registers from the first k to the last. The elements of a row of A lie next to each other in k and are broadcast
// one by one.
package main

import (
	"flag"
	"fmt"
	"os"

	. "github.com/mmcloughlin/avo/build"
)

// Offsets into tile.
const (
	tA = 8 * iota
	tLDA
	tB
	tLDB
	tC
	tLDC
	tK
	tAccumulate
	tScale
	tBias
	tRowBias
)

func main() {
	arm64 := flag.String("arm64", "", "`file` for the NEON kernels")
	flag.Parse()
	if *arm64 != "" {
		if err := writeNEON(*arm64); err != nil {
			fmt.Fprintln(os.Stderr, "asmgen:", err)
			os.Exit(1)
		}
	}
	ConstraintExpr("!purego")
	for rows := 1; rows <= 12; rows++ {
		tileX86(avx512, rows)
	}
	for rows := 1; rows <= 6; rows++ {
		tileX86(avx2, rows)
	}
	transposeX86()
	decodeX86()
	widenX86()
	narrowX86()
	Generate()
}
