module github.com/fp8rewrite/fp8rewrite

go 1.26

require google.golang.org/protobuf v1.36.12

require (
	github.com/edsrzf/mmap-go v1.2.0 // indirect
	golang.org/x/sys v0.0.0-20211216021012-1d35b9e2eb4e // indirect
)
