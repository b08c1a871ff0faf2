// Package layout says how float8 checkpoints are spelled: which tensors stand beside a float8 weight, what they are called and how they
// are shaped, what config.json says of them, and what the loader of each layout refuses. One file holds one layout.
//
// It knows names, shapes and settings. It refuses to know files, where numbers come from, and how layers are found: it gets a layer's name
// and extents and the scales that were measured. safetensors and tensor come before it; checkpoint, which writes what a layout asks for, comes
// after it.
//
// In every layout but float8-linear the stored scale is the multiplier back from float8: w ≈ q · scale, with scale = amax / 448.
package layout
