package driver

import (
	"errors"
	"fmt"
)

// ErrNoGraphs is the error of an implementation that cannot capture.
var ErrNoGraphs = errors.New("cuda: this build of the driver interface cannot capture graphs")

// Graph is work that was recorded once and can be launched as one.
type Graph struct {
	exec  ExecHandle
	Nodes int // kernels, copies and the like
}

// Capture records what f gives to s, which must not be the default stream, instead of doing it. Addresses and arguments are recorded as
// they are. f may not wait, allocate, nor free. Where f fails nothing is left of the recording, and its error is returned.
func (c *Context) Capture(s Stream, f func() error) (g *Graph, err error) {
	drv, ok := c.drv.(Grapher)
	if !ok {
		return nil, ErrNoGraphs
	}
	if s == 0 {
		return nil, errors.New("cuda: the default stream cannot be captured")
	}
	if err := c.check(drv.BeginCapture(s)); err != nil {
		return nil, err
	}
	ended := false
	defer func() {
		if !ended { // f panicked: the stream must not stay in capture
			if h, _ := drv.EndCapture(s); h != 0 {
				_ = drv.DestroyGraph(h)
			}
		}
	}()
	ferr := f()
	ended = true
	h, err := drv.EndCapture(s)
	if h != 0 {
		defer func() {
			if derr := c.check(drv.DestroyGraph(h)); err == nil && derr != nil {
				_ = c.FreeGraph(g)
				g, err = nil, derr
			}
		}()
	}
	if ferr != nil {
		return nil, ferr
	}
	if err := c.check(err); err != nil {
		return nil, fmt.Errorf("cuda: capture: %w", err)
	}
	n, err := drv.Nodes(h)
	if err := c.check(err); err != nil {
		return nil, err
	}
	exec, err := drv.Instantiate(h)
	if err := c.check(err); err != nil {
		return nil, fmt.Errorf("cuda: graph of %d nodes: %w", n, err)
	}
	return &Graph{exec: exec, Nodes: n}, nil
}

// Replay launches a graph in the order of s and does not wait.
func (c *Context) Replay(g *Graph, s Stream) error {
	drv, ok := c.drv.(Grapher)
	if !ok {
		return ErrNoGraphs
	}
	return c.check(drv.LaunchGraph(g.exec, s))
}

// FreeGraph gives a graph back.
func (c *Context) FreeGraph(g *Graph) error {
	if g == nil || g.exec == 0 {
		return nil
	}
	drv, ok := c.drv.(Grapher)
	if !ok {
		return ErrNoGraphs
	}
	exec := g.exec
	g.exec = 0
	return c.check(drv.DestroyExec(exec))
}
