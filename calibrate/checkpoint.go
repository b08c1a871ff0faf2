package calibrate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"

	"github.com/fp8rewrite/fp8rewrite/runtime"
	"github.com/fp8rewrite/fp8rewrite/scaling"
)

// Checkpoint is a run between two steps: enough to go on as if nothing had happened.
type Checkpoint struct {
	Fingerprint string
	Steps       int // done

	// Extra is the caller's own, such as what it made of the outputs of the steps: set it in Options.Save, find it here again.
	Extra []byte

	rows     int64
	layers   []savedLayer
	operands []savedOperand
}

// savedLayer and savedOperand are the parts of layer and operand that a step changes. Floats are stored as their bits, so that every
// number, and every NaN, comes back as it was.
type savedLayer struct {
	Name          string
	Ran           int64
	Input, Weight runtime.Counts
	Counted       bool
}

type savedOperand struct {
	Initialized bool
	History     []uint32
	Scale       []uint32
	Scales      []uint32
	Window      []int
	Amaxes      []uint32
	Course      []uint32
	Rejected    scaling.Rejected
}

// CheckpointError says that a checkpoint cannot be resumed.
type CheckpointError struct{ Why string }

// Error gives the cause.
func (e *CheckpointError) Error() string { return "checkpoint: " + e.Why }

// checkpointVersion is the version of the format below: a line "fp8rewrite-checkpoint VERSION SHA256", then JSON, whose digest that
// is.
const (
	checkpointMagic   = "fp8rewrite-checkpoint"
	checkpointVersion = 1
)

// checkpointBody is a Checkpoint as JSON.
type checkpointBody struct {
	Fingerprint string
	Steps       int
	Rows        int64
	Extra       []byte
	Layers      []savedLayer
	Operands    []savedOperand
}

// Marshal is the checkpoint as bytes.
func (c *Checkpoint) Marshal() ([]byte, error) {
	body, err := json.Marshal(checkpointBody{c.Fingerprint, c.Steps, c.rows, c.Extra, c.layers, c.operands})
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("%s %d %x\n", checkpointMagic, checkpointVersion, sha256.Sum256(body))
	return append([]byte(head), body...), nil
}

// IsCheckpoint reports whether bytes begin as those of a checkpoint do, of whatever version and however damaged: whether a file is this
// program's to replace.
func IsCheckpoint(b []byte) bool { return bytes.HasPrefix(b, []byte(checkpointMagic+" ")) }

// UnmarshalCheckpoint reads what Marshal made. The error is a [CheckpointError]: bytes of something else, of another version, or
// changed since.
func UnmarshalCheckpoint(b []byte) (*Checkpoint, error) {
	head, body, ok := bytes.Cut(b, []byte{'\n'})
	fields := bytes.Fields(head)
	if !ok || len(fields) != 3 || string(fields[0]) != checkpointMagic {
		return nil, &CheckpointError{"not a checkpoint of this program"}
	}
	if string(fields[1]) != fmt.Sprint(checkpointVersion) {
		return nil, &CheckpointError{fmt.Sprintf("version %.20q, want %d", fields[1], checkpointVersion)}
	}
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != string(fields[2]) {
		return nil, &CheckpointError{"its checksum does not fit its content: it was changed or cut short"}
	}
	var c checkpointBody
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, &CheckpointError{err.Error()}
	}
	return &Checkpoint{c.Fingerprint, c.Steps, c.Extra, c.Rows, c.Layers, c.Operands}, nil
}

// save hands the run as it is after done steps to Options.Save. All ranks call it, as the counts are summed.
func (r *run) save(ctx context.Context, done int) error {
	if r.opt.Save == nil && r.group.Size() == 1 {
		return nil
	}
	// The sums go into copies: each rank goes on with its own counts.
	layers := make([]*layer, len(r.layers))
	for i, l := range r.layers {
		c := *l
		layers[i] = &c
	}
	if err := r.total(ctx, layers); err != nil {
		return err
	}
	if r.group.Rank() != 0 || r.opt.Save == nil {
		return nil
	}
	c := &Checkpoint{Fingerprint: r.opt.Fingerprint, Steps: done, rows: r.rows}
	for _, l := range layers {
		c.layers = append(c.layers, savedLayer{l.name, l.ran, l.inputCounts, l.weightCounts, l.counted})
	}
	for _, o := range r.operands {
		s := savedOperand{Amaxes: bitsOf(o.amaxes), Course: bitsOf(o.course), Rejected: o.rejected}
		if o.state != nil {
			s.Initialized = o.state.Initialized()
			s.History = bitsOf(o.state.History())
			s.Scale = bitsOf([]float32{float32(o.state.Scale())})
			s.Scales = bitsOf(o.scales)
			s.Window = append([]int(nil), o.window...)
		}
		c.operands = append(c.operands, s)
	}
	if err := r.opt.Save(c); err != nil {
		return fmt.Errorf("calibrate: save the checkpoint after step %d: %w", done, err)
	}
	return nil
}

// resume goes on from Options.Resume of rank 0.
func (r *run) resume(ctx context.Context) error {
	var b []byte
	if r.opt.Resume != nil && r.group.Rank() == 0 {
		var err error
		if b, err = r.opt.Resume.Marshal(); err != nil {
			return err
		}
	}
	b, err := broadcast(ctx, r.group, b)
	if err != nil || len(b) == 0 {
		return err
	}
	c, err := UnmarshalCheckpoint(b)
	if err != nil {
		return err
	}
	if c.Fingerprint != r.opt.Fingerprint {
		return &CheckpointError{fmt.Sprintf("it belongs to another run: its model, data or flags have the fingerprint %q, these have %q", c.Fingerprint, r.opt.Fingerprint)}
	}
	if err := r.fits(c); err != nil {
		return err
	}
	r.done, r.rows = c.Steps, c.rows
	for i, l := range r.layers {
		s := c.layers[i]
		l.ran = s.Ran
		if r.group.Rank() == 0 { // the sums of all ranks
			l.inputCounts, l.weightCounts, l.counted = s.Input, s.Weight, s.Counted
		}
	}
	for i, o := range r.operands {
		s := c.operands[i]
		o.amaxes, o.course, o.rejected = floatsOf(s.Amaxes), floatsOf(s.Course), s.Rejected
		if o.state == nil {
			continue
		}
		o.state, err = scaling.RestoreState(o.recipe, o.top, floatsOf(s.History), scaling.QuantScale(math.Float32frombits(s.Scale[0])), s.Initialized)
		if err != nil {
			return &CheckpointError{err.Error()}
		}
		o.scales, o.window = floatsOf(s.Scales), append([]int(nil), s.Window...)
	}
	return nil
}

// fits says why a checkpoint's parts are not those of this model and data.
func (r *run) fits(c *Checkpoint) error {
	if c.Steps < 1 || c.Steps > r.source.Steps() {
		return &CheckpointError{fmt.Sprintf("it has %d steps, the data %d", c.Steps, r.source.Steps())}
	}
	if len(c.layers) != len(r.layers) || len(c.operands) != len(r.operands) {
		return &CheckpointError{fmt.Sprintf("it has %d layers, the model %d", len(c.layers), len(r.layers))}
	}
	for i, l := range r.layers {
		if c.layers[i].Name != l.name {
			return &CheckpointError{fmt.Sprintf("its layer %d is %q, the model's %q", i, c.layers[i].Name, l.name)}
		}
	}
	for i, o := range r.operands {
		s := c.operands[i]
		ok := len(s.Amaxes) == c.Steps
		if o.state != nil {
			ok = ok && len(s.History) == len(o.window) && len(s.Window) == len(o.window) && len(s.Scale) == 1 &&
				len(s.Scales) == len(o.scales) && len(s.Course) == c.Steps
		}
		if !ok {
			return &CheckpointError{fmt.Sprintf("operand %d has other sizes than the model's", i)}
		}
		for _, v := range floatsOf(s.Scales) {
			if !scaling.Usable(v) {
				return &CheckpointError{fmt.Sprintf("operand %d has the scale %v", i, v)}
			}
		}
	}
	return nil
}

func bitsOf(v []float32) []uint32 {
	out := make([]uint32, len(v))
	for i, x := range v {
		out[i] = math.Float32bits(x)
	}
	return out
}

func floatsOf(v []uint32) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = math.Float32frombits(x)
	}
	return out
}
