package onnxio

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	externalDataField = 13 // TensorProto.external_data
	entryKeyField     = 1  // of StringStringEntryProto
	entryValueField   = 2
)

// locations calls f with the location of every tensor in the message b, of type k, that names another file. It reads no tensor data and
// copies nothing, so it costs next to nothing for a mapped file of any size. An error, after calls of f, is that b is no such message.
func locations(b []byte, k kind, f func(string)) error { return locationsAt(b, k, 1, f) }

func locationsAt(b []byte, k kind, depth int, f func(string)) error {
	if depth > maxDepth {
		return fmt.Errorf("messages nest deeper than %d", maxDepth)
	}
	below := children[k]
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return wireError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return wireError(n)
		}
		field := b[:n]
		b = b[n:]
		if typ != protowire.BytesType {
			continue
		}
		content, _ := protowire.ConsumeBytes(field)
		switch child := below[num]; {
		case child != other:
			if err := locationsAt(content, child, depth+1, f); err != nil {
				return err
			}
		case k == tensorKind && num == externalDataField:
			key, value, err := entry(content)
			if err != nil {
				return err
			}
			if key == "location" {
				f(value)
			}
		}
	}
	return nil
}

// entry reads a StringStringEntryProto.
func entry(b []byte) (key, value string, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", "", wireError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return "", "", wireError(n)
		}
		if num == entryKeyField || num == entryValueField {
			if typ != protowire.BytesType {
				return "", "", errors.New("text of another type")
			}
			text, _ := protowire.ConsumeBytes(b)
			if num == entryKeyField {
				key = string(text)
			} else {
				value = string(text)
			}
		}
		b = b[n:]
	}
	return key, value, nil
}
