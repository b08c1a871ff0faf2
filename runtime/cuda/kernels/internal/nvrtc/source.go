package nvrtc

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// Hopper is how the name of a source ends, without its ending, that uses what only cards of compute capability 9.0 have.
const Hopper = "_sm90a"

// Options are what a source is compiled with. compute_89 is the first architecture with float8 conversions; the driver compiles the
// PTX for the card at hand. PTX for compute_90a is for compute capability 9.0 and no other.
func Options(name string) []string {
	architecture := "compute_89"
	if strings.HasSuffix(strings.TrimSuffix(name, ".cu"), Hopper) {
		architecture = "compute_90a"
	}
	return []string{"--gpu-architecture=" + architecture, "--std=c++17", "-default-device", "--diag-suppress=177"}
}

// include is the only line of preprocessing that is done here: NVRTC then needs no files.
var include = regexp.MustCompile(`(?m)^#include "(\w+\.cuh)"\n`)

// Expand reads a source from dir, with what it includes pasted in. What is included includes nothing.
func Expand(dir fs.FS, name string) (string, error) {
	own, err := fs.ReadFile(dir, name)
	if err != nil {
		return "", err
	}
	found := include.FindAllStringSubmatchIndex(string(own), -1)
	if found == nil {
		return "", fmt.Errorf("%s: includes nothing", name)
	}
	var b strings.Builder
	done := 0
	for _, at := range found {
		file := string(own[at[2]:at[3]])
		text, err := fs.ReadFile(dir, file)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		b.Write(own[done:at[0]])
		done = at[1]
		// The line numbers of messages are those of the files.
		line := strings.Count(string(own[:done]), "\n") + 1
		fmt.Fprintf(&b, "#line 1 %q\n%s\n#line %d %q\n", file, text, line, name)
	}
	b.Write(own[done:])
	return b.String(), nil
}

// Header is the first line of a PTX file: a digest of the expanded source and the options that it was made from, and one of body, which is
// all that follows the line.
func Header(name, expanded, body string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n%s", Options(name), expanded)
	return fmt.Sprintf("// made from a source with sha256 %x, all below has sha256 %x\n", h.Sum(nil), sha256.Sum256([]byte(body)))
}
