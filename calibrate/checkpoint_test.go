package calibrate

import (
	"bytes"
	"math"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

func sampleCheckpoint() *Checkpoint {
	return &Checkpoint{Fingerprint: "f", Steps: 2, Extra: []byte{0, 255}, rows: 16,
		layers: []savedLayer{{Name: "a", Ran: 2, Input: runtime.Counts{Elements: 9, NonFinite: 1}, Counted: true}},
		operands: []savedOperand{{Initialized: true, History: bitsOf([]float32{1, 0}), Scale: bitsOf([]float32{448}), Scales: bitsOf([]float32{448}),
			Window: []int{1, -1}, Amaxes: bitsOf([]float32{nan32, 1}), Course: bitsOf([]float32{1, 448}), Rejected: scaling.Rejected{NaN: 1}}}}
}

func TestACheckpointReadsBack(t *testing.T) {
	b, err := sampleCheckpoint().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	c, err := UnmarshalCheckpoint(b)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Marshal(); err != nil || !bytes.Equal(again, b) {
		t.Errorf("reading and writing changes it: %v\n%s\n%s", err, b, again)
	}
	if !bytes.Equal(c.Extra, []byte{0, 255}) {
		t.Errorf("extra %v", c.Extra)
	}
	if a := floatsOf(c.operands[0].Amaxes); !math.IsNaN(float64(a[0])) || a[1] != 1 {
		t.Errorf("amaxes %v", a)
	}
}

func FuzzUnmarshalCheckpoint(f *testing.F) {
	b, err := sampleCheckpoint().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("fp8rewrite-checkpoint 1 x\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := UnmarshalCheckpoint(b)
		if err != nil {
			return
		}
		if _, err := c.Marshal(); err != nil {
			t.Errorf("read, but not written: %v", err)
		}
	})
}
