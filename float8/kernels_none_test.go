//go:build purego || !(amd64 || arm64)

package float8

func benchPaths() []benchPath {
	return []benchPath{{"plain", func() func() { return func() {} }}}
}
