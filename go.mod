module github.com/fp8rewrite/fp8rewrite

go 1.26
