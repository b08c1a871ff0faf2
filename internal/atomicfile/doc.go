// Package atomicfile writes a file so that at its name there is always either the whole old content or the whole new one.
//
// It knows temporary names, syncing and renaming. It refuses to know what is written. Whoever produces a file comes before it.
package atomicfile
