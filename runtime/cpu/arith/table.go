package arith

import (
	"maps"

	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// Table is the package's operators.
func Table() kernel.Table {
	t := kernel.Table{
		"Where": plain(where),
		"Clip":  makeClip,
		"Pow":   makePow,
	}
	for _, family := range []kernel.Table{unaries(), activations(), binaries(), comparisons(), variadics(), casts(), quantizers(), reductions(), axials(), randoms(), normalizers(),
		optimizers(), contribs()} {
		maps.Copy(t, family)
	}
	return t
}
