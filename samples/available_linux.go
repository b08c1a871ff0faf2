package samples

import (
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// available is how many bytes this process can still get, by what the kernel thinks is free without swapping and by the limit on its
// addresses; 0 where neither is known.
func available() int64 {
	free := int64(math.MaxInt64)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if rest, is := strings.CutPrefix(line, "MemAvailable:"); is {
				if kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64); err == nil {
					free = kb << 10
				}
			}
		}
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_AS, &limit); err == nil && limit.Cur < math.MaxInt64 {
		if b, err := os.ReadFile("/proc/self/statm"); err == nil { // in pages: all addresses first
			total, _, _ := strings.Cut(string(b), " ")
			if pages, err := strconv.ParseInt(total, 10, 64); err == nil {
				free = min(free, max(1, int64(limit.Cur)-pages*int64(os.Getpagesize())))
			}
		}
	}
	if free == math.MaxInt64 {
		return 0
	}
	return free
}
