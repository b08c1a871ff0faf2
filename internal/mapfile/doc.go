// Package mapfile opens files as read-only memory. It knows mappings and what happens when a mapped file shrinks; it refuses to
// know what the bytes mean. The codecs come after it.
package mapfile
