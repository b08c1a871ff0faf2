package arith

import (
	"hash/fnv"
	"math"

	"github.com/fp8rewrite/fp8rewrite/graph"
	"github.com/fp8rewrite/fp8rewrite/runtime/cpu/kernel"
)

// twister is the generator MT19937 of Matsumoto and Nishimura (ACM TOMACS 8(1), 1998), seeded and read as numpy's RandomState does: the
// reference implementations draw from that, so that a seed gives the same uniform and normal numbers here.
type twister struct {
	state  [624]uint32
	at     int
	spare  float64 // the second of a pair of normal numbers
	paired bool
}

func newTwister(seed uint32) *twister {
	t := &twister{at: 624}
	for i := range t.state {
		t.state[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return t
}

func (t *twister) next() uint32 {
	if t.at == len(t.state) {
		for i := range t.state {
			y := t.state[i]&(1<<31) | t.state[(i+1)%624]&(1<<31-1)
			v := t.state[(i+397)%624] ^ y>>1
			if y&1 != 0 {
				v ^= 0x9908B0DF
			}
			t.state[i] = v
		}
		t.at = 0
	}
	y := t.state[t.at]
	t.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9D2C5680
	y ^= y << 15 & 0xEFC60000
	return y ^ y>>18
}

// uniform is a number of [0, 1) with 53 bits.
func (t *twister) uniform() float64 {
	a, b := t.next()>>5, t.next()>>6
	return (float64(a)*0x1p26 + float64(b)) * 0x1p-53
}

// normal is a number of the standard normal distribution, by Marsaglia's polar method.
func (t *twister) normal() float64 {
	if t.paired {
		t.paired = false
		return t.spare
	}
	for {
		x, y := 2*t.uniform()-1, 2*t.uniform()-1
		r := float64(x*x) + float64(y*y)
		if r >= 1 || r == 0 {
			continue
		}
		f := math.Sqrt(-2 * math.Log(r) / r)
		t.spare, t.paired = f*x, true
		return f * y
	}
}

// source makes the generator of one call. Every call starts anew: a run gives the same numbers each time, so that a run that is repeated,
// or resumed, is the same. Without the attribute seed the seed comes from the names of the node's outputs, so that two nodes differ.
func source(s *kernel.Site) func() *twister {
	var seed uint32
	if a := s.Node.Attr("seed"); a != nil {
		v := a.Int
		if a.Kind == graph.AttrFloat {
			v = int64(a.Float)
			if float32(v) != a.Float {
				v = int64(math.Float32bits(a.Float))
			}
		}
		seed = uint32(v)
	} else {
		h := fnv.New32a()
		for _, name := range s.Node.Outputs {
			h.Write([]byte(name + "\x00"))
		}
		seed = h.Sum32()
	}
	return func() *twister { return newTwister(seed) }
}
