//go:build !purego

package vec

import "testing"

// forEach runs a test with every instruction set that the machine has.
func forEach(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	has := best
	defer func() { best = has }()
	for s := plainGo; s <= has; s++ {
		best = s
		if name == "" {
			f(t)
			continue
		}
		t.Run(name+"/"+s.String(), f)
	}
}
