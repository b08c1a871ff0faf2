package cpu

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// availableMemory is how many bytes the machine can give without swapping, as the kernel estimates it.
func availableMemory() int64 { return meminfo("MemAvailable", assumedMemory) }

// totalMemory is how many bytes the machine has, swap included.
func totalMemory() int64 { return meminfo("MemTotal", endlessMemory) + meminfo("SwapTotal", 0) }

// meminfo is an entry of the kernel's list, or def.
func meminfo(key string, def int64) int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return def
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), key+":"); ok {
			if kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64); err == nil {
				return kb << 10
			}
		}
	}
	return def
}
