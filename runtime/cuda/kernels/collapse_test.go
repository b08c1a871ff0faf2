package kernels

import (
	"slices"
	"testing"
)

func TestCollapse(t *testing.T) {
	for _, c := range []struct {
		name    string
		dims    []int64
		strides [][]int64
		want    []int64
		wantS   [][]int64
	}{
		{"contiguous is one dimension", []int64{2, 3, 4}, [][]int64{{12, 4, 1}}, []int64{24}, [][]int64{{1}}},
		{"a repeated row keeps two", []int64{2, 3, 4}, [][]int64{{12, 4, 1}, {0, 0, 1}}, []int64{6, 4}, [][]int64{{4, 1}, {0, 1}}},
		{"a repeated number is one", []int64{2, 3}, [][]int64{{3, 1}, {0, 0}}, []int64{6}, [][]int64{{1}, {0}}},
		{"ones go", []int64{1, 5, 1}, [][]int64{{99, 1, 7}}, []int64{5}, [][]int64{{1}}},
		{"nothing but ones stays one", []int64{1, 1}, [][]int64{{4, 4}}, []int64{1}, [][]int64{{1}}},
		{"a slice keeps its rows", []int64{4, 6}, [][]int64{{10, 1}}, []int64{4, 6}, [][]int64{{10, 1}}},
	} {
		dims, strides := collapse(c.dims, c.strides...)
		if !slices.Equal(dims, c.want) {
			t.Errorf("%s: %v, want %v", c.name, dims, c.want)
		}
		for i := range strides {
			if !slices.Equal(strides[i], c.wantS[i]) {
				t.Errorf("%s: strides %v, want %v", c.name, strides, c.wantS)
			}
		}
	}
}

func TestTransposedFindsTheMatrix(t *testing.T) {
	// [2, 3, 64, 32] with the last two exchanged.
	n, from, to := []int64{2, 3, 32, 64}, []int64{6144, 2048, 1, 32}, []int64{6144, 2048, 64, 1}
	a, l, ok := transposed(n, from, to, 2)
	if !ok || a.rows != 64 || a.cols != 32 || a.srcLd != 32 || a.dstLd != 64 || l.Grid != [3]uint32{1, 2, 6} {
		t.Errorf("%+v, grid %v, %t", a, l.Grid, ok)
	}
	if _, _, ok := transposed([]int64{100, 100}, []int64{100, 1}, []int64{200, 1}, 4); ok {
		t.Error("rows that stay rows were taken for a transposition")
	}
	if _, _, ok := transposed([]int64{1000, 3}, []int64{1, 1000}, []int64{3, 1}, 4); ok {
		t.Error("a matrix of three columns was taken for tiles")
	}
}

func TestChainLayoutKeepsRowsWithGaps(t *testing.T) {
	for _, c := range []struct {
		name    string
		dims    []int64
		strides []int64
		ld      int64
		want    []int64
		wantS   []int64
		wantLd  int64
	}{
		{"rows without gaps are one", []int64{2, 3, 16}, []int64{48, 16, 1}, 16, []int64{96}, []int64{1}, 96},
		{"a repeated row stays a row", []int64{2, 3, 16}, []int64{0, 0, 1}, 16, []int64{6, 16}, []int64{0, 1}, 16},
		{"rows with gaps stay", []int64{2, 3, 13}, []int64{39, 13, 1}, 16, []int64{6, 13}, []int64{13, 1}, 16},
		{"rows of one with gaps stay", []int64{6, 1}, []int64{1, 1}, 16, []int64{6, 1}, []int64{1, 1}, 16},
		{"one row with a gap", []int64{13}, []int64{1}, 16, []int64{1, 13}, []int64{1, 1}, 16},
		{"a scalar", nil, nil, 16, []int64{1}, []int64{1}, 16},
		{"a scalar without a gap", nil, nil, 1, []int64{1}, []int64{1}, 1},
	} {
		dims, strides, ld := chainLayout(c.dims, [][]int64{c.strides}, c.ld)
		if !slices.Equal(dims, c.want) || len(strides) != 1 || !slices.Equal(strides[0], c.wantS) || ld != c.wantLd {
			t.Errorf("%s: dimensions %v, strides %v, rows of codes %d, want %v, %v, %d", c.name, dims, strides, ld, c.want, c.wantS, c.wantLd)
		}
	}
}
