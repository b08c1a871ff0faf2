package onnxio

import (
	"bytes"
	"testing"
)

// FuzzOpen: whatever the bytes, opening them gives an error or a model that is saved and opens again as the same model.
func FuzzOpen(f *testing.F) {
	f.Add(marshal(f, small()))
	f.Add(marshal(f, everything(false)))
	f.Add(marshal(f, everything(true)))
	f.Add(marshal(f, typed(f)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Unmarshal(b)
		if err != nil {
			return
		}
		first, err := Marshal(m)
		if err != nil {
			t.Fatalf("opened, but not saved: %v", err)
		}
		again, err := Unmarshal(first)
		if err != nil {
			t.Fatalf("saved, but not opened again: %v", err)
		}
		if second, err := Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("saved differently the second time: %d and %d bytes, error %v", len(first), len(second), err)
		}
	})
}
