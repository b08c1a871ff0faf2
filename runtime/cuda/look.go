package cuda

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/cu"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/kernels"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/lt"
)

// Found is what a machine has of CUDA.
type Found struct {
	// Driver is the version of the NVIDIA driver, such as "580.95.05", "" where the system does not tell.
	Driver string

	// Libraries are libcuda and libcublasLt, in this order, whether they are there or not.
	Libraries []Library

	// Cards are the machine's GPUs, in the order of their numbers. None without a libcuda.
	Cards []Card

	// Err says why no card can be used: a missing library, no device, or what ails the only cards. nil where one can.
	Err error
}

// Library is a library that was looked for.
type Library struct {
	Name    string   // "libcuda" or "libcublasLt"
	Path    string   // the file that was opened, "" where none was
	Version string   // of libcuda the newest CUDA that it serves, such as "13.0"; of libcublasLt its own, such as "13.1.2"
	Looked  []string // what was tried, in order, each with what came of it; the one that was taken last
	Err     error    // why there is none, nil where there is
}

// Card is a GPU.
type Card struct {
	Index        int // N of "cuda:N"
	Name         string
	Major, Minor int // compute capability
	SMs          int // multiprocessors
	Memory       int64
	Free         int64 // bytes of Memory that no process holds; 0 where no context could be made on the card
	L2           int64 // bytes of the second level cache
	Err          error // why it cannot be used, nil where it can
}

// Look lists what this machine has of CUDA, and what is missing. A context is made on every card for a moment.
func Look() Found {
	libraries := driver.Find()
	f := Found{}
	for _, l := range []driver.Library{libraries.CUDA, libraries.CUBLASLt} {
		f.Libraries = append(f.Libraries, library(l))
	}
	api, err := cu.Choose(libraries)
	if err != nil {
		f.Libraries[0].Err = err
		f.Err = err
		return f
	}
	f.Driver = driverVersion(libraries.CUDA.Path)
	if _, err := lt.Open(libraries.CUBLASLt); err != nil {
		f.Libraries[1].Err = err
		f.Err = err
	}
	infos, err := driver.Devices(api)
	if err != nil {
		f.Err = err
		return f
	}
	usable := false
	var why error
	for _, i := range infos {
		c := card(i)
		if c.Err == nil && f.Err != nil {
			c.Err = f.Err
		}
		usable = usable || c.Err == nil
		if why == nil {
			why = c.Err
		}
		f.Cards = append(f.Cards, c)
	}
	if !usable && f.Err == nil {
		if f.Err = why; why == nil {
			f.Err = fmt.Errorf("the machine has no GPU")
		}
	}
	return f
}

func library(l driver.Library) Library {
	out := Library{Name: l.Name, Path: l.Path, Version: l.VersionText(), Err: l.Err}
	for _, k := range l.Looked {
		out.Looked = append(out.Looked, k.String())
	}
	return out
}

func card(i driver.Info) Card {
	c := Card{Index: i.Ordinal, Name: i.Name, Major: i.Major, Minor: i.Minor, SMs: i.SMs, Memory: i.Total, Free: i.Free, L2: i.L2, Err: i.Err}
	if err := capable(i); err != nil {
		c.Err = err
	}
	return c
}

// capable says whether the kernels run on a card.
func capable(i driver.Info) error {
	if 10*i.Major+i.Minor < 89 {
		return &kernels.CapabilityError{Card: i}
	}
	return nil
}

// driverVersion is the version of the kernel's driver as Linux tells it, or as the name of libcuda's file does:
// libcuda.so.580.95.05.
func driverVersion(libcuda string) string {
	if b, err := os.ReadFile("/sys/module/nvidia/version"); err == nil {
		return strings.TrimSpace(string(b))
	}
	if _, v, ok := strings.Cut(filepath.Base(libcuda), ".so."); ok && strings.Contains(v, ".") {
		return v
	}
	return ""
}
