// Package driver reaches an NVIDIA GPU through the CUDA driver API: memory, streams, events, kernels, graphs.
//
// It knows where the libraries of CUDA are found on a machine ([Find]), how their functions are called, that a CUDA context belongs to
// a thread, and which errors end it. It refuses to know any kernel, any tensor and any model, and does not import them.
// internal/dynlib comes before it; runtime/cuda/lt, the kernels and the engine after it.
//
// A [Device] owns one thread of the process. [Device.Do] runs a function there and hands it the [Context], whose methods are the calls;
// nothing else can reach the GPU, so no call can come from a thread that has no context:
//
//	api, err := driver.Load()
//	dev, err := driver.Open(api, 0)
//	defer dev.Close()
//	err = dev.Do(func(c *driver.Context) error {
//		p, err := c.Alloc(1 << 20)
//		...
//		return c.Launch(f, driver.Launch{Grid: [3]uint32{8, 1, 1}, Block: [3]uint32{256, 1, 1}, Stream: s}, driver.Struct(args))
//	})
//
// Nothing is opened before [Find] or [Load] is called. [Driver] is the seam for another way to the same functions; the one that [Load]
// gives opens the library while the program runs, needs no cgo, and starts on machines without a GPU. Package cu, beneath this one, has
// the other, for programs built with the tag cu, and chooses.
package driver
