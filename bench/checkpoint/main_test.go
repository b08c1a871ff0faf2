package main

import (
	"path/filepath"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/checkpoint"
	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
)

// TestTheCheckpointIsOne: what is measured opens, and all its layers are converted.
func TestTheCheckpointIsOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in")
	size, err := write(dir, options{size: 1 << 20, shards: 2}) // a block in each shard
	if err != nil {
		t.Fatal(err)
	}
	src, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if src.Bytes() < size || len(src.Shards) != 2 {
		t.Errorf("%d bytes in %d shards, want more than %d in 2", src.Bytes(), len(src.Shards), size)
	}
	l, err := layout.Find("deepseek")
	if err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.NewConversion(src, checkpoint.Options{Layout: l})
	if err != nil {
		t.Fatal(err)
	}
	if names, _ := c.Names(); len(names) != 14 {
		t.Errorf("%d layers, want 14", len(names))
	}
}

func TestMedian(t *testing.T) {
	for want, of := range map[float64][]float64{2: {3, 1, 2}, 2.5: {4, 1, 3, 2}} {
		if got := median(of); got != want {
			t.Errorf("median of %v: %v, want %v", of, got, want)
		}
	}
}
