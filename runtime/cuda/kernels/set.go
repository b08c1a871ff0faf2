package kernels

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
)

// Set is the kernels on one GPU. A kernel is loaded, and compiled where the driver has not done so before, when it is first wanted: see
// [Set.Preload]. A set is used where its [driver.Context] is, by one goroutine at a time.
type Set struct {
	c       *driver.Context
	entries map[string]Entry
	modules map[string]*driver.Module // one for each kernel that is loaded
	ready   map[string]*driver.Function
}

// CapabilityError tells a card that is too old.
type CapabilityError struct{ Card driver.Info }

func (e *CapabilityError) Error() string {
	return fmt.Sprintf("cuda: %s has compute capability %d.%d: float8 needs 8.9 or later", e.Card.Name, e.Card.Major, e.Card.Minor)
}

// New is the set of c's GPU, with nothing loaded. The error is a [*CapabilityError].
func New(c *driver.Context) (*Set, error) {
	if i := c.Info(); i.Major*10+i.Minor < 89 {
		return nil, &CapabilityError{i}
	}
	s := &Set{c: c, entries: map[string]Entry{}, modules: map[string]*driver.Module{}, ready: map[string]*driver.Function{}}
	for _, e := range Table() {
		if !e.Hopper || s.hopper() {
			s.entries[e.Name] = e
		}
	}
	return s, nil
}

// hopper reports whether the card runs what is made for compute capability 9.0 alone.
func (s *Set) hopper() bool { return s.c.Info().Major == 9 && s.c.Info().Minor == 0 }

// Preload loads every kernel of the sources named, such as "attention", or of all if none is; compiling all takes some ten seconds. While
// a stream is captured nothing can be loaded, so what is captured is preloaded or has run before.
func (s *Set) Preload(names ...string) error {
	for name, e := range s.entries {
		wanted := len(names) == 0
		for _, m := range names {
			wanted = wanted || m == e.Module || e.Hopper && m+hopperSuffix == e.Module
		}
		if wanted {
			if _, err := s.function(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close unloads what was loaded.
func (s *Set) Close() error {
	var first error
	for name, m := range s.modules {
		if err := s.c.Unload(m); err != nil && first == nil {
			first = err
		}
		delete(s.modules, name)
	}
	clear(s.ready)
	return first
}

// function finds a kernel, loading it where needed.
func (s *Set) function(name string) (*driver.Function, error) {
	if f := s.ready[name]; f != nil {
		return f, nil
	}
	e, ok := s.entries[name]
	if !ok {
		return nil, fmt.Errorf("no kernel %q", name)
	}
	m := s.modules[name]
	if m == nil {
		image, err := kernelImage(e)
		if err != nil {
			return nil, err
		}
		if m, err = s.c.LoadModule(name, image); err != nil {
			return nil, err
		}
		s.modules[name] = m
	}
	f, err := s.c.Function(m, name)
	if err != nil {
		return nil, err
	}
	s.ready[name] = f
	return f, nil
}

// launch starts the kernel called name with args, a pointer to its struct.
func launch[A any](s *Set, name string, l driver.Launch, args *A) error {
	f, err := s.function(name)
	if err != nil {
		return err
	}
	return s.c.Launch(f, l, driver.Struct(unsafe.Slice((*byte)(unsafe.Pointer(args)), unsafe.Sizeof(*args))))
}

const threads = 256 // of a block, where a kernel does not depend on it

// turns is the launch of a kernel whose blocks take turns over n pieces of work, per of them a block: a block for each turn as long as
// they are few, beyond that blocksPerSM on every multiprocessor.
func (s *Set) turns(n, per, blocksPerSM int64, stream driver.Stream) driver.Launch {
	blocks := (n + per - 1) / per
	return driver.Blocks(int(min(blocks, blocksPerSM*int64(s.c.Info().SMs))), threads, stream)
}

// rows is the launch of one block a row of cols elements, per of them a thread, limit threads at most.
func rows(kernel string, n, cols, per int64, limit int, stream driver.Stream) (driver.Launch, error) {
	if n > math.MaxInt32 {
		return driver.Launch{}, &SizeError{kernel, "number of rows", fmt.Sprint(n), "at most 2147483647"}
	}
	warps := max((cols+32*per-1)/(32*per), 1)
	return driver.Blocks(int(n), int(min(warps*32, int64(limit))), stream), nil
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
