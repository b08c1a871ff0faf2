// Package archtest holds the imports of every package against the table in docs/ARCHITECTURE.md.
//
// It knows the table's format and Go's import declarations. It refuses to know what any package does. Everything in it is a test: nothing
// comes after it, and what comes before is the source tree.
package archtest
