package main

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSizesAreReadInPowersOfTen(t *testing.T) {
	for text, want := range map[string]int64{"2GB": 2e9, "300MB": 3e8, "1.5gb": 15e8} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "2", "2GiB", "-1GB", "0MB", "NaNGB", "1e9GB"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestThePlanIsTheNearestNumberOfLayers(t *testing.T) {
	for _, name := range []string{"bf16", "f32"} {
		d, err := parseDType(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int64{2e9, 8e9} {
			p := planModel(size, d)
			if off := math.Abs(float64(p.bytes()-size)) / float64(size); off > 0.06 {
				t.Errorf("%s, %d bytes: the plan has %d", name, size, p.bytes())
			}
		}
	}
}

func TestTheValuesAreNormal(t *testing.T) {
	for _, name := range []string{"bf16", "f32"} {
		d, _ := parseDType(name)
		next := normals(d)
		var n, sum, squares, fourth float64
		for range 16 {
			chunk := next(0.5)
			for i := int64(0); i < int64(len(chunk)); i += d.size {
				bits := uint32(binary.LittleEndian.Uint16(chunk[i:])) << 16
				if d.size == 4 {
					bits = binary.LittleEndian.Uint32(chunk[i:])
				}
				v := float64(math.Float32frombits(bits))
				n, sum, squares, fourth = n+1, sum+v, squares+v*v, fourth+v*v*v*v
			}
		}
		deviation := math.Sqrt(squares / n)
		if mean := sum / n; math.Abs(mean) > 0.003 || math.Abs(deviation-0.5) > 0.003 || math.Abs(fourth/n/math.Pow(deviation, 4)-3) > 0.05 {
			t.Errorf("%s: mean %v, deviation %v, kurtosis %v", name, mean, deviation, fourth/n/math.Pow(deviation, 4))
		}
	}
}

func TestTheDataFileHasTheLengthThatTheModelNames(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: writes 100 MB")
	}
	d, _ := parseDType("bf16")
	p, dir := planModel(1, d), t.TempDir()
	if err := p.write(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, dataFile))
	if err != nil || info.Size() != p.bytes() {
		t.Fatalf("%v, %v, want %d bytes", info.Size(), err, p.bytes())
	}
	cancelled, stop := context.WithCancel(context.Background())
	stop()
	if err := p.write(cancelled, t.TempDir()); err == nil {
		t.Error("a cancelled write returns no error")
	}
}

func TestAFolderWithoutRoomIsRefused(t *testing.T) {
	free, known, err := freeBytes(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if !known {
		t.Skip("this system does not say how much room a folder has")
	}
	if err := roomFor(t.TempDir(), free+1<<40); err == nil || !strings.Contains(err.Error(), "GB free") {
		t.Errorf("got %v", err)
	}
	if err := roomFor(filepath.Join(t.TempDir(), "missing"), 1); err == nil {
		t.Error("a missing folder is no error")
	}
}

func TestMemoryIsReadFromStatus(t *testing.T) {
	status := "Name:\tx\nVmRSS:\t   12 kB\nRssAnon:\t  1500 kB\n"
	if got := statusBytes(status, "RssAnon"); got != 1500<<10 {
		t.Errorf("RssAnon %d", got)
	}
	if got := statusBytes(status, "RssFile"); got != 0 {
		t.Errorf("RssFile %d, want 0", got)
	}
}
