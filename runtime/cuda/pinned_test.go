package cuda

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver"
	"github.com/fp8rewrite/fp8rewrite/runtime/cuda/driver/drivertest"
)

// onFake calls f on the thread of a stand-in for a GPU.
func onFake(t *testing.T, f func(c *driver.Context, s driver.Stream) error) {
	t.Helper()
	drivertest.CUDA(t).Use(driver.EnvCUDA)
	api, err := driver.Load()
	if err != nil {
		t.Fatal(err)
	}
	dev, err := driver.Open(api, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if err := dev.Do(func(c *driver.Context) error {
		s, err := c.NewStream()
		if err != nil {
			return err
		}
		return f(c, s)
	}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatGoesUpComesDown(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sizes := [][]int{{1}, {0}, {}, {7, 3, 250, 256, 257, 4}, {smallestPinned - 1}, {smallestPinned + 1, 5}, {largestPinned, 9}, {largestPinned + 123, 4096},
		{3 << 20, 1, 17 << 20, 15 << 20}}
	onFake(t, func(c *driver.Context, s driver.Stream) error {
		p := pinned{threads: 3}
		for _, list := range sizes {
			total := int64(0)
			for _, n := range list {
				total += aligned(int64(n))
			}
			at, err := c.Alloc(max(total, 1))
			if err != nil {
				return err
			}
			var up, down []piece
			for _, n := range list {
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				up = append(up, piece{at, b})
				down = append(down, piece{at, make([]byte, n)})
				at = at.Add(aligned(int64(n)))
			}
			want := make([][]byte, len(up))
			for i := range up {
				want[i] = slices.Clone(up[i].bytes)
			}
			r.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
			if err := p.upload(c, up, s); err != nil {
				return err
			}
			for _, q := range up { // the caller's memory is the caller's again
				clear(q.bytes)
			}
			if err := p.download(c, down, s); err != nil {
				return err
			}
			for i := range down {
				if !bytes.Equal(down[i].bytes, want[i]) {
					t.Errorf("sizes %v: piece %d came back as something else", list, i)
				}
			}
		}
		return nil
	})
}

func TestPiecesThatLieSideBySideAreOneCopy(t *testing.T) {
	p := func(at, n int) piece { return piece{driver.Ptr(at), make([]byte, n)} }
	for name, c := range map[string]struct {
		in   []piece
		want []int // pieces of each group
	}{
		"nothing":                 {nil, nil},
		"empty ones":              {[]piece{p(0, 0), p(256, 0)}, nil},
		"padding between":         {[]piece{p(512, 4), p(0, 4), p(256, 100)}, []int{3}},
		"something else between":  {[]piece{p(0, 4), p(512, 4)}, []int{1, 1}},
		"exactly one after other": {[]piece{p(0, 256), p(256, 256)}, []int{2}},
		"too large for a copy":    {[]piece{p(0, largestPinned), p(largestPinned, 4)}, []int{1, 1}},
	} {
		var got []int
		for _, g := range joined(c.in) {
			got = append(got, len(g))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: groups of %v, want %v", name, got, c.want)
		}
	}
}
