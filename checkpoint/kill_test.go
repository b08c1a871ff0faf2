package checkpoint

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/checkpoint/layout"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
	"github.com/fp8rewrite/fp8rewrite/tensor"
)

// childVariables make the test binary a conversion: input, output, and whether it goes on.
const childIn, childOut, childResume = "CHECKPOINT_TEST_IN", "CHECKPOINT_TEST_OUT", "CHECKPOINT_TEST_RESUME"

func TestMain(m *testing.M) {
	if in := os.Getenv(childIn); in != "" {
		if err := child(in, os.Getenv(childOut), os.Getenv(childResume) != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(in, out string, resume bool) error {
	src, err := Open(in)
	if err != nil {
		return err
	}
	l, err := layout.Find("compressed-tensors")
	if err != nil {
		return err
	}
	c, err := NewConversion(src, Options{Layout: l, Weights: layout.PerBlock})
	if err != nil {
		return err
	}
	_, err = c.Run(context.Background(), out, RunOptions{Resume: resume, Workers: 2})
	return err
}

// TestKilledRunsGoOn kills a conversion at random moments, 20 times, and goes on: the output is the same to the byte, and nothing else is left.
func TestKilledRunsGoOn(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Skipf("SKIPPED: the test binary does not know its path: %v", err)
	}
	kills := 20
	if testing.Short() {
		kills = 4
	}
	in := filepath.Join(t.TempDir(), "model")
	var shards [][]safetensors.Tensor
	values := noise(5)
	for i := range 6 {
		var list []safetensors.Tensor
		for j, name := range []string{"q_proj", "k_proj", "v_proj", "o_proj"} {
			at := min(i+j%2, 5) // joined layers in neighbouring shards
			list = append(list, made(fmt.Sprintf("model.layers.%d.%d.self_attn.%s.weight", at, i, name), tensor.BFloat16, tensor.Shape{512, 1024}, values))
		}
		shards = append(shards, list)
	}
	saveFolder(t, in, llamaConfig, shards...)
	if err := os.WriteFile(filepath.Join(in, "tokenizer.json"), make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	whole := filepath.Join(parent, "whole")
	start := time.Now()
	if err := child(in, whole, false); err != nil {
		t.Fatal(err)
	}
	lasts := time.Since(start)
	want := tree(t, whole)
	if err := os.RemoveAll(whole); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	killed, resumed, attempts := 0, 0, 0
	for killed < kills && attempts < 10*kills {
		out := filepath.Join(parent, fmt.Sprintf("out%d", attempts))
		attempts++
		for again := 0; ; again++ {
			_, statErr := os.Stat(Leftover(out))
			resume := statErr == nil
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childIn+"="+in, childOut+"="+out)
			if resume {
				cmd.Env = append(cmd.Env, childResume+"=1")
				resumed++
			}
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			if again < 3 { // the fourth time it may end
				wait := time.Duration(r.Int64N(int64(3 * lasts / 2)))
				go func() { // begins to count when the work begins
					for {
						if _, err := os.Stat(Leftover(out)); err == nil {
							break
						}
						select {
						case <-ended:
							return
						case <-time.After(time.Millisecond):
						}
					}
					select {
					case <-ended:
					case <-time.After(wait):
						cmd.Process.Kill() // if it ends meanwhile, this is an error and no harm: it is waited for below
					}
				}()
			}
			err := cmd.Wait()
			close(ended)
			if err == nil {
				break
			}
			if cmd.ProcessState.ExitCode() == 1 {
				t.Fatal("the run that went on failed")
			}
			killed++
			_, output := os.Stat(out)
			if _, left := os.Stat(Leftover(out)); left != nil && output == nil { // it had done everything when it was killed
				break
			}
		}
		sameTree(t, fmt.Sprintf("attempt %d", attempts), want, tree(t, out))
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
		left, err := os.ReadDir(parent)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range left {
			t.Errorf("attempt %d leaves %s", attempts, e.Name())
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d runs that went on", killed, resumed)
	if killed < kills || resumed == 0 && !testing.Short() {
		t.Errorf("%d kills and %d runs that went on, want %d and some: the machine is too slow or too fast for this test", killed, resumed, kills)
	}
}

// TestGoingOnWantsTheSameJob: with another layout nothing is mixed.
func TestGoingOnWantsTheSameJob(t *testing.T) {
	t.Parallel()
	in := saveDecoder(t, tensor.BFloat16)
	out := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(context.Background())
	run := func(ctx context.Context, name string, opt RunOptions) error {
		c, err := NewConversion(open(t, in), Options{Layout: find(t, name)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Run(ctx, out, opt)
		return err
	}
	if err := run(ctx, "fp8", RunOptions{Resume: true}); err == nil {
		t.Error("there is nothing to go on from, and it went on")
	}
	// The first shard is done when the work ends.
	stopped := run(ctx, "fp8", RunOptions{Workers: 1, Progress: func(done, total int64) { cancel() }})
	if stopped == nil || ctx.Err() == nil {
		t.Fatalf("the run was not stopped: %v", stopped)
	}
	if _, err := os.Stat(Leftover(out)); err != nil {
		t.Fatalf("nothing was left: %v", err)
	}
	other := &OtherJobError{}
	if err := run(context.Background(), "comfy", RunOptions{Resume: true}); err == nil || err.Error() == "" || !as(err, &other) {
		t.Errorf("another layout: %v", err)
	}
	if err := run(context.Background(), "fp8", RunOptions{Resume: true}); err != nil {
		t.Fatal(err)
	}
	straight, _ := convert(t, in, Options{Layout: find(t, "fp8")}, RunOptions{})
	sameTree(t, "went on", tree(t, straight), tree(t, out))
}

// together is the processes of a job inside this one.
type together struct {
	rank, size int
	barrier    *barrier
}

type barrier struct {
	mu      sync.Mutex
	waiting int
	gate    chan struct{}
}

func (g *together) Rank() int { return g.rank }
func (g *together) Size() int { return g.size }
func (g *together) Barrier(ctx context.Context) error {
	b := g.barrier
	b.mu.Lock()
	gate := b.gate
	if b.waiting++; b.waiting == g.size {
		b.waiting, b.gate = 0, make(chan struct{})
		close(gate)
	}
	b.mu.Unlock()
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// TestRanksShareTheShards ends with the bytes, and the rows, of one process.
func TestRanksShareTheShards(t *testing.T) {
	t.Parallel()
	in := saveDecoder(t, tensor.BFloat16)
	opt := Options{Layout: find(t, "modelopt")}
	alone, c := convert(t, in, opt, RunOptions{})
	out := filepath.Join(t.TempDir(), "out")
	b := &barrier{gate: make(chan struct{})}
	var wg sync.WaitGroup
	conversions := make([]*Conversion, 3)
	for rank := range 3 {
		wg.Go(func() {
			src, err := Open(in)
			if err != nil {
				t.Error(err)
				return
			}
			defer src.Close()
			conv, err := NewConversion(src, opt)
			if err != nil {
				t.Error(err)
				return
			}
			conversions[rank] = conv
			if _, err := conv.Run(context.Background(), out, RunOptions{Workers: 1, Group: &together{rank: rank, size: 3, barrier: b}}); err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sameTree(t, "three ranks", tree(t, alone), tree(t, out))
	one, three := c.Rows(), conversions[0].Rows()
	for i := range one {
		if one[i].WeightXXH64 != three[i].WeightXXH64 || one[i].Flushed != three[i].Flushed {
			t.Errorf("row %d differs: %+v and %+v", i, one[i], three[i])
		}
	}
}
