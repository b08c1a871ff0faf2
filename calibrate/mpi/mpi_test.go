//go:build unix

package mpi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fp8rewrite/fp8rewrite/calibrate"
	"github.com/fp8rewrite/fp8rewrite/internal/dynlib"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
)

var _ calibrate.Group = (*Group)(nil)

// workVariable makes this test binary one rank of a job: its value says what the rank does.
const workVariable = "FP8REWRITE_MPI_TEST"

func TestMain(m *testing.M) {
	if name := os.Getenv(workVariable); name != "" {
		if err := work(name); err != nil {
			fmt.Fprintln(os.Stderr, "rank failed:", err)
			os.Exit(9)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func work(name string) error {
	g, err := Join()
	if err != nil {
		return err
	}
	if g == nil {
		fmt.Println("alone")
		return nil
	}
	ctx := context.Background()
	last := g.Size() - 1
	switch name {
	case "verbs":
		if err := verbs(ctx, g); err != nil {
			fmt.Fprintln(os.Stderr, "rank", g.Rank(), err)
			g.Abort(3)
		}
		fmt.Printf("rank %d of %d local %d\n", g.Rank(), g.Size(), g.LocalRank())
		return g.Close()
	case "exit": // without a word to the others
		if g.Rank() == last {
			os.Exit(7)
		}
	case "die":
		if g.Rank() == last {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	case "panic":
		if g.Rank() == last {
			panic("a bug")
		}
	case "abort":
		if g.Rank() == last {
			g.Abort(5)
		}
	case "leave": // while the call is under way
		if g.Rank() == last {
			time.Sleep(time.Minute)
		}
		short, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		defer stop()
		if err := g.Barrier(short); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("a barrier that one rank does not come to: %v", err)
		}
		if err := g.Close(); !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("close of a broken group: %v", err)
		}
		g.Abort(6)
	}
	if err := g.Barrier(ctx); err != nil {
		return err
	}
	fmt.Println("output")
	return g.Close()
}

// verbs checks every verb against what each rank can compute by itself.
func verbs(ctx context.Context, g *Group) error {
	n, r := g.Size(), g.Rank()
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	negZero := float32(math.Copysign(0, -1))
	v := []float32{float32(r), -float32(r) - 1, 0, negZero, 0, inf, 1e-45, 1, 0}
	if r == n-1 {
		v[2], v[4], v[5], v[8] = -inf, nan, nan, inf
	}
	if err := g.AllReduceMax(ctx, v); err != nil {
		return err
	}
	last0 := float32(0)
	if n == 1 {
		last0 = -inf
	}
	want := []float32{float32(n - 1), -1, last0, negZero, nan, nan, 1e-45, 1, inf}
	for i := range v {
		if math.Float32bits(v[i]) != math.Float32bits(want[i]) && !(v[i] != v[i] && want[i] != want[i]) {
			return fmt.Errorf("maximum %d: %v, want %v", i, v, want)
		}
	}
	big := make([]float32, 300_000)
	for i := range big {
		big[i] = float32((i * (r + 7)) % 1009)
	}
	if err := g.AllReduceMax(ctx, big); err != nil {
		return err
	}
	for i := range big {
		w := 0
		for q := range n {
			w = max(w, (i*(q+7))%1009)
		}
		if big[i] != float32(w) {
			return fmt.Errorf("maximum of element %d: %v, want %d", i, big[i], w)
		}
	}
	s := []int64{1, int64(r) << 40, -int64(r)}
	if err := g.AllReduceSum(ctx, s); err != nil {
		return err
	}
	all := int64(n * (n - 1) / 2)
	if !slices.Equal(s, []int64{int64(n), all << 40, -all}) {
		return fmt.Errorf("sums %d", s)
	}
	if err := g.AllReduceMax(ctx, nil); err != nil {
		return err
	}
	b, err := g.Broadcast(ctx, []byte(fmt.Sprintf("from %d", r)))
	if err != nil || string(b) != "from 0" {
		return fmt.Errorf("broadcast %q, %v", b, err)
	}
	if err := g.Barrier(ctx); err != nil {
		return err
	}
	file, version := g.Library()
	if file == "" || version == "" {
		return fmt.Errorf("library %q, %q", file, version)
	}
	return fault()
}

// fault reads a mapped page that is gone: the library must have left Go's handling of that as it was.
func fault() error {
	f, err := os.CreateTemp("", "mapped")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := f.Truncate(1 << 16); err != nil {
		return err
	}
	m, err := mapfile.New(f)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := f.Truncate(0); err != nil {
		return err
	}
	var sum int
	if err := mapfile.Guard(func() error { sum += int(m.Bytes()[1<<15]); return nil }); err == nil {
		return errors.New("a page that is gone was read")
	}
	return nil
}

// launcher is the mpirun to use, with its flags.
func launcher(t *testing.T) []string {
	t.Helper()
	if !dynlib.Supported {
		t.Skip("built without the means to open shared libraries")
	}
	name := os.Getenv("FP8REWRITE_MPIRUN")
	if name == "" {
		name = "mpirun"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s on this machine: install Open MPI (Debian: openmpi-bin), or name a launcher in FP8REWRITE_MPIRUN", name)
	}
	version, err := exec.Command(path, "--version").Output()
	if err != nil {
		t.Skipf("%s --version: %v", path, err)
	}
	if bytes.Contains(version, []byte("Open MPI")) {
		return []string{path, "--oversubscribe"}
	}
	return []string{path}
}

// start runs this test binary as n ranks.
func start(t *testing.T, n int, what string) (stdout, stderr string, took time.Duration, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()
	args := append(launcher(t), "-np", fmt.Sprint(n), self)
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env = append(os.Environ(), workVariable+"="+what,
		// Open MPI asks twice before it runs for root, as in a container.
		"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "PRTE_ALLOW_RUN_AS_ROOT=1", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1",
		"PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe")
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	c.WaitDelay = time.Second
	began := time.Now()
	err = c.Run()
	return o.String(), e.String(), time.Since(began), err
}

func TestRanksReduce(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		if testing.Short() && n == 4 {
			t.Skip("-short leaves out 4 ranks")
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			stdout, stderr, took, err := start(t, n, "verbs")
			if err != nil {
				t.Fatalf("%v\n%s%s", err, stdout, stderr)
			}
			t.Logf("%d ranks: %v", n, took)
			if n == 1 {
				if strings.TrimSpace(stdout) != "alone" {
					t.Errorf("one process printed %q", stdout)
				}
				return
			}
			for r := range n {
				if line := fmt.Sprintf("rank %d of %d local %d\n", r, n, r); !strings.Contains(stdout, line) {
					t.Errorf("no %q in %q", line, stdout)
				}
			}
		})
	}
}

func TestARankThatFailsEndsTheJob(t *testing.T) {
	for _, what := range []string{"die", "exit", "panic", "abort", "leave"} {
		if testing.Short() && what != "die" {
			t.Skip("-short leaves out all but the rank that is killed")
		}
		t.Run(what, func(t *testing.T) {
			stdout, stderr, took, err := start(t, 3, what)
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Errorf("the launcher ended with %v, want an exit code that is not 0", err)
			}
			if strings.Contains(stdout, "output") { // some launchers say on stdout that a rank died
				t.Errorf("output %q", stdout)
			}
			if took > 30*time.Second || strings.Contains(stderr, "rank failed") {
				t.Errorf("after %v: %s", took, stderr)
			}
			t.Logf("%v: %v", took, err)
		})
	}
}

// alone runs this test binary as what looks like one of several processes.
func alone(t *testing.T, env ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	c := exec.CommandContext(ctx, self)
	c.Env = append(append(os.Environ(), workVariable+"=verbs"), env...)
	out, err := c.CombinedOutput()
	if err == nil {
		t.Fatalf("no error: %s", out)
	}
	return string(out)
}

func TestALibraryThatIsMissingIsAClearError(t *testing.T) {
	if !dynlib.Supported {
		out := alone(t, "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=0")
		if !strings.Contains(out, "Open MPI started 2 processes") || !strings.Contains(out, dynlib.ErrBuiltWithout.Error()) {
			t.Errorf("got %s", out)
		}
		return
	}
	none := filepath.Join(t.TempDir(), "libmpi.so.40")
	out := alone(t, "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=0", Variable+"="+none)
	for _, word := range []string{"Open MPI started 2 processes", "no MPI library was found", Variable, none} {
		if !strings.Contains(out, word) {
			t.Errorf("got %s, want %q", out, word)
		}
	}
	text := (&NotFoundError{Launch: Launch{By: "PMIx", Rank: 3}, Looked: []string{"libmpi.so.40: no such file", "/opt/x"}}).Error()
	for _, word := range []string{"PMIx started this process as rank 3", "libmpi.so.40: no such file, /opt/x", Variable} {
		if !strings.Contains(text, word) {
			t.Errorf("got %s, want %q", text, word)
		}
	}
}

func TestALibraryThatIsNoMPIIsRefused(t *testing.T) {
	if !dynlib.Supported {
		t.Skip("built without the means to open shared libraries")
	}
	lib := "libc.so.6"
	if _, err := os.Stat("/usr/lib/libSystem.B.dylib"); err == nil {
		lib = "/usr/lib/libSystem.B.dylib"
	}
	out := alone(t, "PMI_SIZE=2", "PMI_RANK=0", Variable+"="+lib)
	if !strings.Contains(out, "is no MPI library") || !strings.Contains(out, "MPI_Get_library_version") {
		t.Errorf("got %s", out)
	}
}

func TestALibraryOfAnotherKindThanTheLaunchersIsRefused(t *testing.T) {
	launcher(t) // a machine with MPI
	out := alone(t, "PMI_SIZE=2", "PMI_RANK=0", "OMPI_COMM_WORLD_SIZE=", "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
	if !strings.Contains(out, "different kinds") && !strings.Contains(out, "MPI_Init") {
		t.Errorf("got %s", out)
	}
}
