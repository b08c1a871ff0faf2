package cuda

import "fmt"

// Card is the GPU and the libraries that an engine uses, in one line: "NVIDIA H200, driver for CUDA 13.0, cuBLASLt 13.1.2". It is "" before
// [Backend.Check] has found them.
func (b *Backend) Card() string {
	if b.dev == nil {
		return ""
	}
	text := b.dev.Info().Name
	if v, err := b.api.Version(); err == nil {
		text += fmt.Sprintf(", driver for CUDA %d.%d", v/1000, v%1000/10)
	}
	v := b.lt.Version
	return text + fmt.Sprintf(", cuBLASLt %d.%d.%d", v/10000, v/100%100, v%100)
}
