//go:build !amd64 || purego

package vec

import "testing"

func forEach(t *testing.T, name string, f func(t *testing.T)) {
	if name == "" {
		f(t)
		return
	}
	t.Run(name, f)
}
