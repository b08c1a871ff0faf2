package float8

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// 256 Ki elements: beyond the first-level cache, within the second or third.
const benchElements = 1 << 18

// eachPath runs b plainly and with every kernel set side by side, so that one
// run gives the ratio. MB/s are of source bytes.
func eachPath(b *testing.B, name string, bytes int, f func()) {
	for _, path := range benchPaths() {
		b.Run(name+"/"+path.name, func(b *testing.B) {
			defer path.use()()
			b.SetBytes(int64(bytes))
			for b.Loop() {
				f()
			}
		})
	}
}

type benchPath struct {
	name string
	use  func() (restore func())
}

func benchValues() (f32 []float32, f16, bf16 []uint16) {
	rng := rand.New(rand.NewPCG(7, 8))
	f32, f16, bf16 = make([]float32, benchElements), make([]uint16, benchElements), make([]uint16, benchElements)
	for i := range f32 {
		f32[i] = float32(rng.NormFloat64()) * 0.02 // as weights are
	}
	NarrowFloat16(f16, f32)
	NarrowBFloat16(bf16, f32)
	return
}

func BenchmarkCast(b *testing.B) {
	f32, f16, bf16 := benchValues()
	dst := make([]byte, benchElements)
	scale := 448 / AmaxFloat32(f32)
	for _, f := range []Format{E4M3FNFormat, E5M2Format} {
		eachPath(b, fmt.Sprintf("Float32/%v", f), 4*benchElements, func() { CastFloat32(dst, f32, f, scale) })
		eachPath(b, fmt.Sprintf("Float16/%v", f), 2*benchElements, func() { CastFloat16(dst, f16, f, scale) })
		eachPath(b, fmt.Sprintf("BFloat16/%v", f), 2*benchElements, func() { CastBFloat16(dst, bf16, f, scale) })
	}
	table := new(Table16)
	table.Fill(FromBFloat16, E4M3FNFormat, scale)
	b.Run("BFloat16/E4M3FN/table", func(b *testing.B) {
		b.SetBytes(2 * benchElements)
		for b.Loop() {
			table.Cast(dst, bf16)
		}
	})
	table.Fill(FromFloat16, E4M3FNFormat, scale)
	b.Run("Float16/E4M3FN/table", func(b *testing.B) {
		b.SetBytes(2 * benchElements)
		for b.Loop() {
			table.Cast(dst, f16)
		}
	})
}

func BenchmarkCastWithError(b *testing.B) {
	f32, f16, bf16 := benchValues()
	dst := make([]byte, benchElements)
	scale := 448 / AmaxFloat32(f32)
	eachPath(b, "Float32/E4M3FN", 4*benchElements, func() { CastFloat32WithError(dst, f32, E4M3FNFormat, scale) })
	eachPath(b, "Float16/E4M3FN", 2*benchElements, func() { CastFloat16WithError(dst, f16, E4M3FNFormat, scale) })
	eachPath(b, "BFloat16/E4M3FN", 2*benchElements, func() { CastBFloat16WithError(dst, bf16, E4M3FNFormat, scale) })
}

func BenchmarkAmax(b *testing.B) {
	f32, f16, bf16 := benchValues()
	var sink float32
	eachPath(b, "Float32", 4*benchElements, func() { sink += AmaxFloat32(f32) })
	eachPath(b, "Float16", 2*benchElements, func() { sink += AmaxFloat16(f16) })
	eachPath(b, "BFloat16", 2*benchElements, func() { sink += AmaxBFloat16(bf16) })
	_ = sink
}

func BenchmarkDecodeFloat32(b *testing.B) {
	f32, _, _ := benchValues()
	codes := make([]byte, benchElements)
	CastFloat32(codes, f32, E4M3FNFormat, 448/AmaxFloat32(f32))
	eachPath(b, "E4M3FN", benchElements, func() { DecodeFloat32(f32, codes, E4M3FNFormat, 0.01) })
}

func BenchmarkTable16Fill(b *testing.B) {
	table := new(Table16)
	for b.Loop() {
		table.Fill(FromBFloat16, E4M3FNFormat, 1000)
	}
}
