package mpi

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	for _, c := range []struct {
		name     string
		env      map[string]string
		want     Launch
		launched bool
		err      string
	}{
		{"nothing", nil, Launch{Size: 1, LocalRank: -1}, false, ""},
		{"mpirun of Open MPI", map[string]string{"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
			Launch{"Open MPI", 4, 3, 1}, true, ""},
		{"mpirun of one process", map[string]string{"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0"},
			Launch{"Open MPI", 1, 0, -1}, false, ""},
		{"mpirun inside a Slurm step", map[string]string{"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "SLURM_STEP_NUM_TASKS": "1",
			"SLURM_PROCID": "0"}, Launch{"Open MPI", 2, 1, -1}, true, ""},
		{"hydra", map[string]string{"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALRANKID": "1"}, Launch{"PMI", 2, 1, 1}, true, ""},
		{"srun", map[string]string{"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, Launch{"Slurm", 8, 5, 1}, true, ""},
		{"a batch script of Slurm", map[string]string{"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, Launch{Size: 1, LocalRank: -1}, false, ""},
		{"PMIx alone", map[string]string{"PMIX_RANK": "2"}, Launch{"PMIx", 0, 2, -1}, true, ""},
		{"a size that is no number", map[string]string{"OMPI_COMM_WORLD_SIZE": "x"}, Launch{}, false, `OMPI_COMM_WORLD_SIZE is "x"`},
		{"no process", map[string]string{"PMI_SIZE": "0"}, Launch{}, false, `PMI_SIZE is "0"`},
		{"a rank beyond the size", map[string]string{"PMI_SIZE": "2", "PMI_RANK": "2"}, Launch{}, false, "below 2"},
		{"a rank that is no number", map[string]string{"PMIX_RANK": "x"}, Launch{}, false, "PMIX_RANK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, launched, err := Detect(func(k string) string { return c.env[k] })
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || l != c.want || launched != c.launched {
				t.Errorf("got %+v, %v, %v; want %+v, %v", l, launched, err, c.want, c.launched)
			}
		})
	}
}

func TestTheLaunchersOwnLibraryIsTriedFirst(t *testing.T) {
	open, hydra := candidates("Open MPI"), candidates("PMI")
	if !strings.Contains(open[0], "40") || !strings.Contains(hydra[0], "12") || !slices.Contains(open, hydra[0]) {
		t.Errorf("tried first: %s and %s", open[0], hydra[0])
	}
}

func TestKeysAreOrderedAsTheNumbers(t *testing.T) {
	inf := float32(math.Inf(1))
	rising := []float32{-inf, -math.MaxFloat32, -1, -1e-45, float32(math.Copysign(0, -1)), 0, 1e-45, 1, math.MaxFloat32, inf, float32(math.NaN())}
	for i, x := range rising {
		if y := number(key(x)); math.Float32bits(y) != math.Float32bits(x) && x == x || x != x && y == y {
			t.Errorf("%v comes back as %v", x, y)
		}
		if i > 0 && key(rising[i-1]) >= key(x) {
			t.Errorf("%v is not below %v", rising[i-1], x)
		}
	}
	if k := key(math.Float32frombits(0xFFC00001)); k != math.MaxInt32 {
		t.Errorf("a negative NaN has the key %d", k)
	}
}
