package driver

import (
	"bytes"
	"regexp"
)

// target is PTX's own word for what it is made for.
var target = regexp.MustCompile(`(?m)^\s*\.target\s+(sm_\w+)`)

// Module is a set of kernels on the GPU.
type Module struct {
	name   string
	handle ModuleHandle
}

// LoadModule compiles PTX text for the card and loads it; name is for messages. A cubin is taken as well. The first time costs what the
// driver's compiler costs, which then remembers. The error is a [*ModuleError] with what the compiler said.
func (c *Context) LoadModule(name string, image []byte) (*Module, error) {
	if !bytes.HasPrefix(image, []byte("\x7fELF")) && (len(image) == 0 || image[len(image)-1] != 0) {
		image = append(image[:len(image):len(image)], 0) // text ends with a zero byte
	}
	h, log, err := c.drv.LoadModule(image)
	if err != nil {
		e := &ModuleError{Module: name, Card: c.dev.info, Log: log, Err: c.check(err)}
		if m := target.FindSubmatch(image); m != nil {
			e.Target = string(m[1])
		}
		return nil, e
	}
	return &Module{name: name, handle: h}, nil
}

// Unload gives a module back; its functions must not be used any more.
func (c *Context) Unload(m *Module) error {
	if m == nil || m.handle == 0 {
		return nil
	}
	h := m.handle
	m.handle = 0
	return c.check(c.drv.UnloadModule(h))
}

// Function is a kernel that can be launched.
type Function struct {
	Name       string
	handle     FunctionHandle
	params     []int // sizes in bytes
	known      bool  // whether params is
	maxThreads int
	maxShared  int // dynamic shared memory that a launch may have
}

// Function finds a kernel of a module.
func (c *Context) Function(m *Module, name string) (*Function, error) {
	h, err := c.drv.Function(m.handle, name)
	if err != nil {
		err = c.check(err)
		return nil, &ModuleError{Module: m.name + ": kernel " + name, Card: c.dev.info, Err: err}
	}
	f := &Function{Name: name, handle: h}
	if f.maxThreads, err = c.drv.Attribute(h, MaxThreadsPerBlock); err != nil {
		return nil, c.check(err)
	}
	if f.maxShared, err = c.drv.Attribute(h, MaxDynamicShared); err != nil {
		return nil, c.check(err)
	}
	if s, ok := c.drv.(ParamSizer); ok {
		if f.params, f.known, err = s.ParamSizes(h); err != nil {
			return nil, c.check(err)
		}
	}
	return f, nil
}

// Attribute is what the driver knows about a kernel.
func (c *Context) Attribute(f *Function, a FunctionAttribute) (int, error) {
	v, err := c.drv.Attribute(f.handle, a)
	return v, c.check(err)
}
