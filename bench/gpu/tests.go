package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// How tests say what became of them, and that they found no GPU. A panic behind the time limit is the testing package's.
var (
	testLine = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): `)
	noGPU    = regexp.MustCompile(`(?i)_test\.go:\d+: (no GPU\b[^\n]*)`)
	tooLong  = regexp.MustCompile(`panic: test timed out after`)
)

// testRow judges what a test program printed with -test.v: tests passed, none failed, it came to its end, and it had a GPU.
func testRow(what, out string, err error) row {
	count := map[string]int{}
	for _, m := range testLine.FindAllStringSubmatch(out, -1) {
		count[m[1]]++
	}
	text := fmt.Sprintf("%d passed, %d failed, %d skipped", count["PASS"], count["FAIL"], count["SKIP"])
	r := row{What: what, Got: text, Bar: "passes"}
	skipped := noGPU.FindStringSubmatch(out)
	switch {
	case tooLong.MatchString(out), errors.Is(err, errTooLong):
		r.Got = "not finished: " + text
	case skipped != nil:
		r.Got = fmt.Sprintf("%s: %.120s", text, skipped[1])
	case err != nil:
		first, _, _ := strings.Cut(err.Error(), "\n")
		r.Got = text + ": " + first
	default:
		r.Met = count["PASS"] > 0 && count["FAIL"] == 0
	}
	return r
}

// left is the time until the limit of a part, less what a test program may need to end, as -test.timeout wants it.
func left(ctx context.Context, most time.Duration) string {
	const ending = 4 * time.Second
	if at, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(at)-ending)
	}
	return max(most, time.Second).Round(time.Second).String()
}

func (r *runner) tests(ctx context.Context) {
	for _, p := range tested {
		// A test may lose its context, and takes the GPU's state with it: one after the other, each in a process of its own.
		out, err := r.exec(ctx, "tests", filepath.Join(r.root, filepath.FromSlash(p)), filepath.Join(r.bin, testBinary(p)),
			"-test.v", "-test.short", "-test.timeout", left(ctx, time.Hour))
		r.add(testRow("short tests of "+p, out, err))
	}
}

// checks are what compute-sanitizer looks for, and in which of the kernels' tests: racecheck is slow.
var checks = []struct {
	tool, tests string
	limit       time.Duration
}{
	{"memcheck", "^Test(CastIsExactForEverySixteenBitValue|CastTakesAnySizeAndAddress|AmaxAlone|EveryInstruction|Chains|ChainInPlaceAndBoolean|Norms|Activations|Softmax|Reduce|Rotary|Attention)$", 45 * time.Second},
	{"racecheck", "^TestAttention$/^bfloat16$", 45 * time.Second},
}

// summary is the last line of compute-sanitizer.
var summary = regexp.MustCompile(`(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:errors?|hazards?)\b[^\n]*`)

// checkRow judges what compute-sanitizer and the tests under it printed.
func checkRow(what, out string, err error) row {
	r := testRow(what, out, err)
	said := summary.FindStringSubmatch(out)
	switch {
	case said == nil:
		r.Got, r.Met = "no summary: "+r.Got, false
	default:
		r.Got, r.Met = said[0]+"; "+r.Got, r.Met && said[1] == "0"
	}
	return r
}

func (r *runner) sanitizer(ctx context.Context) {
	const kernels = "runtime/cuda/kernels"
	program, found := sanitizerProgram()
	for _, c := range checks {
		what := c.tool + " of the kernels' short tests"
		if !found {
			r.add(failed(what, errors.New("not measured: compute-sanitizer is not here")))
			continue
		}
		// What the driver refuses is no finding: tests ask it for what it does not have.
		out, err := r.exec(ctx, c.tool, filepath.Join(r.root, filepath.FromSlash(kernels)), program, "--tool", c.tool, "--report-api-errors", "no", "--error-exitcode", "99",
			filepath.Join(r.bin, testBinary(kernels)), "-test.v", "-test.short", "-test.run", c.tests, "-test.timeout", left(ctx, c.limit))
		r.add(checkRow(what, out, err))
	}
}

// sanitizerProgram finds compute-sanitizer: on the path, else in a toolkit.
func sanitizerProgram() (path string, found bool) {
	const name = "compute-sanitizer"
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	roots := []string{"/usr/local/cuda*", "/opt/cuda*"}
	for _, variable := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if home := os.Getenv(variable); home != "" {
			roots = append([]string{home}, roots...)
		}
	}
	for _, root := range roots {
		for _, folder := range []string{"bin", name, "extras/" + name} {
			matches, _ := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), name)) // the patterns are well formed
			for _, m := range matches {
				if info, err := os.Stat(m); err == nil && info.Mode().IsRegular() {
					return m, true
				}
			}
		}
	}
	return "", false
}
