//go:build purego || !(amd64 || arm64)

package float8

func haveKernels() bool { return false }

func castFast32(*tally, []byte, []float32, *layout, float32, bool) { panic("float8: no kernels") }

func castFast16(*tally, []byte, []uint16, Source16, *layout, float32, bool) {
	panic("float8: no kernels")
}

func amaxFast32([]float32) uint32 { panic("float8: no kernels") }

func amaxFast16([]uint16) uint32 { panic("float8: no kernels") }
