package driver

import (
	"fmt"
	"unsafe"
)

// Launch says how a kernel is launched.
type Launch struct {
	Grid   [3]uint32 // blocks
	Block  [3]uint32 // threads of a block
	Shared int       // bytes of dynamic shared memory
	Stream Stream
}

// Blocks is a launch of n blocks of threads threads in one dimension.
func Blocks(n, threads int, s Stream) Launch {
	return Launch{Grid: [3]uint32{uint32(n), 1, 1}, Block: [3]uint32{uint32(threads), 1, 1}, Stream: s}
}

// Arg is an argument of a kernel: what Struct made.
type Arg struct{ bytes []byte }

// Struct is a struct passed by value as an argument, or a number or an address, laid out as C lays it out: numbers little-endian, as on all
// platforms of CUDA. The bytes are read by Launch.
func Struct(b []byte) Arg { return Arg{b} }

// What a launch can take: CUDA allows 4096 bytes of arguments (32764 since 12.1, on newer cards), each at an alignment of at most 16.
const (
	maxArgs      = 1024
	argAlignment = 16
	scratchBytes = maxArgs*8 + maxArgs*argAlignment + 32764
)

// Launch starts a kernel in the order of its stream and does not wait. Arguments that do not fit the kernel's parameters in number or
// size are an [*ArgumentError], where the driver can tell the parameters (since CUDA 12.4). A launch of no blocks is nothing.
func (c *Context) Launch(f *Function, l Launch, args ...Arg) error {
	if err := f.fits(l, args); err != nil {
		return err
	}
	if l.Grid[0] == 0 || l.Grid[1] == 0 || l.Grid[2] == 0 {
		return nil
	}
	if l.Shared > f.maxShared {
		// Above what every card has, a kernel's limit must be raised first.
		if err := c.check(c.drv.SetAttribute(f.handle, MaxDynamicShared, l.Shared)); err != nil {
			return fmt.Errorf("cuda: kernel %q: %d bytes of shared memory, the card's blocks can have %d: %w", f.Name, l.Shared, c.dev.info.SharedPerBlock, err)
		}
		f.maxShared = l.Shared
	}
	params, err := c.pack(args)
	if err != nil {
		return fmt.Errorf("cuda: kernel %q: %w", f.Name, err)
	}
	if err := c.check(c.drv.Launch(f.handle, l, params)); err != nil {
		return fmt.Errorf("cuda: kernel %q: grid %v, block %v: %w", f.Name, l.Grid, l.Block, err)
	}
	return nil
}

// fits says what of a launch does not fit the kernel.
func (f *Function) fits(l Launch, args []Arg) error {
	if threads := uint64(l.Block[0]) * uint64(l.Block[1]) * uint64(l.Block[2]); threads == 0 || threads > uint64(f.maxThreads) {
		return &ArgumentError{f.Name, fmt.Sprintf("%d threads in a block", threads), fmt.Sprintf("1 to %d", f.maxThreads)}
	}
	if !f.known {
		return nil
	}
	if len(args) != len(f.params) {
		return &ArgumentError{f.Name, fmt.Sprintf("%d arguments", len(args)), fmt.Sprint(len(f.params))}
	}
	for i, a := range args {
		if len(a.bytes) != f.params[i] {
			return &ArgumentError{f.Name, fmt.Sprintf("argument %d of %d bytes", i, len(a.bytes)), fmt.Sprint(f.params[i])}
		}
	}
	return nil
}

// pack lays args out in memory that is not Go's, since the driver reaches them through an array of addresses: the array first, then each
// argument at the largest alignment that a C type has.
func (c *Context) pack(args []Arg) ([]unsafe.Pointer, error) {
	if len(args) > maxArgs {
		return nil, fmt.Errorf("%d arguments, at most %d can be passed", len(args), maxArgs)
	}
	if c.scratch == nil {
		p, err := c.drv.AllocHost(scratchBytes)
		if err != nil {
			return nil, c.shortage(c.check(err), "pinned host memory", scratchBytes)
		}
		c.scratch = p
		c.params = unsafe.Slice((*unsafe.Pointer)(p), maxArgs)
	}
	at := maxArgs * 8
	for i, a := range args {
		size := (max(len(a.bytes), 8) + argAlignment - 1) / argAlignment * argAlignment
		if at+size > scratchBytes {
			return nil, fmt.Errorf("argument %d of %d bytes: more than CUDA takes in all", i, len(a.bytes))
		}
		p := unsafe.Add(c.scratch, at)
		copy(unsafe.Slice((*byte)(p), len(a.bytes)), a.bytes)
		c.params[i] = p
		at += size
	}
	return c.params[:len(args)], nil
}

// freeScratch gives the memory of pack back.
func (c *Context) freeScratch() error {
	if c.scratch == nil {
		return nil
	}
	p := c.scratch
	c.scratch, c.params = nil, nil
	return c.check(c.drv.FreeHost(p))
}
