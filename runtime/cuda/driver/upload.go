package driver

import (
	"errors"
	"fmt"
)

// Uploader brings much data to the GPU: while one pinned buffer is copied at the bus's speed, the other is filled.
type Uploader struct {
	buffers [2]*HostBuffer
	done    [2]Event
	busy    [2]bool // done was recorded
	next    int
}

// NewUploader takes two pinned buffers of so many bytes each; 16 MiB is enough for the bus's speed.
func (c *Context) NewUploader(bytes int64) (u *Uploader, err error) {
	u = &Uploader{}
	for i := range u.buffers {
		if u.buffers[i], err = c.AllocHost(bytes); err == nil {
			u.done[i], err = c.NewEvent(false)
		}
		if err != nil {
			return nil, errors.Join(err, c.FreeUploader(u))
		}
	}
	return u, nil
}

// Upload puts n bytes to dst, in the order of s, and does not wait for the last of them. fill is called with one piece after the other,
// on the device's thread: it writes the bytes that lie at offset into b. Where it fails nothing more is copied, and its error is
// returned.
func (c *Context) Upload(u *Uploader, dst Ptr, n int64, fill func(b []byte, offset int64) error, s Stream) error {
	if n < 0 {
		return fmt.Errorf("cuda: upload of %d bytes", n)
	}
	for offset := int64(0); offset < n; {
		i := u.next
		b := u.buffers[i]
		size := min(n-offset, b.n)
		if u.busy[i] {
			if err := c.SyncEvent(u.done[i]); err != nil {
				return err
			}
		}
		if err := fill(b.Bytes()[:size], offset); err != nil {
			return err
		}
		if err := c.CopyIn(dst.Add(offset), b, 0, size, s); err != nil {
			return err
		}
		if err := c.Record(u.done[i], s); err != nil {
			return err
		}
		u.busy[i] = true
		u.next = 1 - i
		offset += size
	}
	return nil
}

// FreeUploader waits for the copies and gives the buffers back.
func (c *Context) FreeUploader(u *Uploader) error {
	var errs []error
	for i := range u.buffers {
		if u.busy[i] {
			errs = append(errs, c.SyncEvent(u.done[i]))
			u.busy[i] = false
		}
		errs = append(errs, c.DestroyEvent(u.done[i]), c.FreeHost(u.buffers[i]))
		u.done[i], u.buffers[i] = 0, nil
	}
	return errors.Join(errs...)
}
