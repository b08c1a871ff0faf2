package driver_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

func TestAnUploadComesInPieces(t *testing.T) {
	lib := standIn(t)
	testUpload(t, fakeDevice(t, lib), 100, []int{0, 1, 99, 100, 101, 250, 1000})
	dev := fakeDevice(t, lib)
	do(t, dev, func(c *driver.Context) error {
		u, err := c.NewUploader(10)
		if err != nil {
			return err
		}
		p, err := c.Alloc(100)
		if err != nil {
			return err
		}
		mine := errors.New("mine")
		lib.Forget()
		if err := c.Upload(u, p, 100, func(_ []byte, offset int64) error {
			if offset == 20 {
				return mine
			}
			return nil
		}, 0); !errors.Is(err, mine) {
			t.Errorf("%v", err)
		}
		// The third piece waits for the first one's buffer, and is not copied.
		log := strings.Join(lib.Log(), "\n")
		if strings.Count(log, "cuMemcpyHtoDAsync 10") != 2 || strings.Count(log, "cuEventSynchronize") != 1 {
			t.Errorf("log\n%s", log)
		}
		if err := c.Upload(u, p, -1, nil, 0); err == nil {
			t.Error("less than nothing")
		}
		if err := errors.Join(c.FreeUploader(u), c.FreeUploader(u)); err != nil {
			return err
		}
		lib.Fail("cuMemAllocHost_v2", 2, 1)
		if _, err := c.NewUploader(10); !driver.IsOutOfMemory(err) {
			t.Errorf("no memory for the second buffer: %v", err)
		}
		return c.Free(p)
	})
}

func TestGPUTakesAnUpload(t *testing.T) {
	dev := openGPU(t)
	testUpload(t, dev, 1<<20, []int{0, 1, 1 << 20, 1<<20 + 1, 50<<20 + 7})
	do(t, dev, func(c *driver.Context) error {
		const size = 1 << 30
		p, err := c.Alloc(size)
		if err != nil {
			return err
		}
		s, err := c.NewStream()
		if err != nil {
			return err
		}
		u, err := c.NewUploader(16 << 20)
		if err != nil {
			return err
		}
		src := make([]byte, size)
		for range 2 {
			start := time.Now()
			if err := errors.Join(c.Upload(u, p, size, func(b []byte, offset int64) error { copy(b, src[offset:]); return nil }, s), c.Sync(s)); err != nil {
				return err
			}
			t.Logf("uploaded at %.1f GB/s, filled by one thread", size/time.Since(start).Seconds()/1e9)
		}
		return errors.Join(c.FreeUploader(u), c.Free(p), c.DestroyStream(s))
	})
}

// testUpload uploads data of several sizes through buffers of one, and reads them back.
func testUpload(t *testing.T, dev *driver.Device, buffer int64, sizes []int) {
	t.Helper()
	do(t, dev, func(c *driver.Context) error {
		s, err := c.NewStream()
		if err != nil {
			return err
		}
		u, err := c.NewUploader(buffer)
		if err != nil {
			return err
		}
		for _, n := range sizes {
			src, back := make([]byte, n), make([]byte, n)
			for i := range src {
				src[i] = byte(rand.Uint32())
			}
			p, err := c.Alloc(int64(n))
			if err != nil {
				return err
			}
			if err := errors.Join(c.Upload(u, p, int64(n), func(b []byte, offset int64) error { copy(b, src[offset:]); return nil }, s),
				c.Read(back, p, s), c.Free(p)); err != nil {
				return err
			}
			if !bytes.Equal(src, back) {
				t.Errorf("%d bytes came back as others", n)
			}
		}
		return errors.Join(c.FreeUploader(u), c.DestroyStream(s))
	})
}
