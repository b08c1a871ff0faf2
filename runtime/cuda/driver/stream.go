package driver

// NewStream makes a stream, which does not wait for the legacy default stream nor that for it.
func (c *Context) NewStream() (Stream, error) {
	s, err := c.drv.NewStream()
	return s, c.check(err)
}

// DestroyStream gives a stream back once its work is done.
func (c *Context) DestroyStream(s Stream) error {
	if s == 0 {
		return nil
	}
	return c.check(c.drv.DestroyStream(s))
}

// Sync waits until the work of s is done. An error in a kernel is told here, or by any other call before.
func (c *Context) Sync(s Stream) error { return c.check(c.drv.SyncStream(s)) }

// SyncAll waits until the work of all streams is done.
func (c *Context) SyncAll() error { return c.check(c.drv.SyncContext()) }

// NewEvent makes an event; with timing it can be given to [Context.Elapsed], without it costs less.
func (c *Context) NewEvent(timing bool) (Event, error) {
	e, err := c.drv.NewEvent(timing)
	return e, c.check(err)
}

// DestroyEvent gives an event back.
func (c *Context) DestroyEvent(e Event) error {
	if e == 0 {
		return nil
	}
	return c.check(c.drv.DestroyEvent(e))
}

// Record lets e happen when s has come so far.
func (c *Context) Record(e Event, s Stream) error { return c.check(c.drv.RecordEvent(e, s)) }

// Wait lets s wait for e.
func (c *Context) Wait(s Stream, e Event) error { return c.check(c.drv.WaitEvent(s, e)) }

// SyncEvent waits until e has happened.
func (c *Context) SyncEvent(e Event) error { return c.check(c.drv.SyncEvent(e)) }

// Elapsed is the time between two events that have happened, in milliseconds.
func (c *Context) Elapsed(from, to Event) (float32, error) {
	ms, err := c.drv.Elapsed(from, to)
	return ms, c.check(err)
}
