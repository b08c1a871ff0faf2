package nvrtc

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"strings"
)

// Options are what every source is compiled with. compute_89 is the first architecture with float8 conversions; the driver compiles the
// PTX for the card at hand.
var Options = []string{"--gpu-architecture=compute_89", "--std=c++17", "-default-device", "--diag-suppress=177"}

// include is the only line of preprocessing that is done here: NVRTC then needs no files.
const include = `#include "common.cuh"`

// Expand reads a source from dir, with what it includes pasted in.
func Expand(dir fs.FS, name string) (string, error) {
	own, err := fs.ReadFile(dir, name)
	if err != nil {
		return "", err
	}
	before, after, found := strings.Cut(string(own), include+"\n")
	if !found {
		return "", fmt.Errorf("%s: no line %q", name, include)
	}
	common, err := fs.ReadFile(dir, "common.cuh")
	if err != nil {
		return "", err
	}
	// The line numbers of messages are those of the files.
	line := strings.Count(before, "\n") + 2
	return fmt.Sprintf("%s#line 1 \"common.cuh\"\n%s\n#line %d %q\n%s", before, common, line, name, after), nil
}

// Header is the first line of the PTX made from an expanded source: a digest of the source and the options.
func Header(expanded string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n%s", Options, expanded)
	return fmt.Sprintf("// made from a source with sha256 %x\n", h.Sum(nil))
}
