package mpi

import (
	"fmt"
	"strconv"
)

// Launch is what a launcher told this process.
type Launch struct {
	By        string // the launcher, by the variable that it sets
	Size      int    // processes of the job; 0 where the launcher does not say
	Rank      int    // of this process; -1 where the launcher does not say
	LocalRank int    // among the processes on this machine, for the choice of a device; -1 where the launcher does not say
}

// launchers are the variables by which each launcher names the size, the rank, and the rank on the machine. The first that is set counts:
// an mpirun inside a Slurm job starts the processes, whatever Slurm says.
var launchers = []struct {
	by, size, rank string
	local          []string
}{
	{"Open MPI", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", []string{"OMPI_COMM_WORLD_LOCAL_RANK"}},
	{"MVAPICH", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", []string{"MV2_COMM_WORLD_LOCAL_RANK"}},
	{"PMI", "PMI_SIZE", "PMI_RANK", []string{"MPI_LOCALRANKID", "PMI_LOCAL_RANK", "SLURM_LOCALID"}},
	// Not SLURM_NTASKS: a batch script has it too, and runs once.
	{"Slurm", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", []string{"SLURM_LOCALID"}},
}

// Detect reads the environment: launched is whether this process is one of several. getenv is os.Getenv outside tests.
func Detect(getenv func(string) string) (l Launch, launched bool, err error) {
	for _, v := range launchers {
		size := getenv(v.size)
		if size == "" {
			continue
		}
		l = Launch{By: v.by, Rank: -1, LocalRank: -1}
		if l.Size, err = strconv.Atoi(size); err != nil || l.Size < 1 {
			return l, false, fmt.Errorf("mpi: %s is %q, want the number of processes", v.size, size)
		}
		if rank := getenv(v.rank); rank != "" {
			if l.Rank, err = strconv.Atoi(rank); err != nil || l.Rank < 0 || l.Rank >= l.Size {
				return l, false, fmt.Errorf("mpi: %s is %q, want a rank below %d", v.rank, rank, l.Size)
			}
		}
		for _, name := range v.local {
			if n, err := strconv.Atoi(getenv(name)); err == nil && n >= 0 {
				l.LocalRank = n
				break
			}
		}
		return l, l.Size > 1, nil
	}
	// A PMIx launcher tells the rank alone; the library knows the rest.
	if rank := getenv("PMIX_RANK"); rank != "" {
		l = Launch{By: "PMIx", LocalRank: -1}
		if l.Rank, err = strconv.Atoi(rank); err != nil || l.Rank < 0 {
			return l, false, fmt.Errorf("mpi: PMIX_RANK is %q, want a rank", rank)
		}
		return l, true, nil
	}
	return Launch{Size: 1, LocalRank: -1}, false, nil
}
