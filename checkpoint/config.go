package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Config is a config.json: an object whose keys keep their order and whose values keep their spelling, so that what is not understood
// stays as it was.
type Config struct {
	keys   []string
	values map[string]json.RawMessage
}

// ParseConfig reads a config.json. A key that stands twice is refused.
func ParseConfig(b []byte) (*Config, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("it is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	t, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	if t != json.Delim('{') {
		return nil, fmt.Errorf("it is not a JSON object but begins with %v", t)
	}
	c := &Config{values: map[string]json.RawMessage{}}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("it is not JSON: %w", err)
		}
		key := t.(string) // the decoder lets nothing else be a key
		if _, twice := c.values[key]; twice {
			return nil, fmt.Errorf("the key %q stands twice", key)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		c.keys, c.values[key] = append(c.keys, key), v
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	return c, nil
}

// Clone is a copy that shares nothing that is changed.
func (c *Config) Clone() *Config {
	n := &Config{keys: append([]string(nil), c.keys...), values: map[string]json.RawMessage{}}
	for k, v := range c.values {
		n.values[k] = v
	}
	return n
}

// Has reports whether the key is there.
func (c *Config) Has(key string) bool { _, ok := c.values[key]; return ok }

// Get decodes the value of a key into v and reports whether it is there, not null, and of that type.
func (c *Config) Get(key string, v any) bool {
	raw, ok := c.values[key]
	if !ok || string(raw) == "null" {
		return false
	}
	return json.Unmarshal(raw, v) == nil
}

// Text is the value of a key that holds a string, else "".
func (c *Config) Text(key string) string {
	var s string
	c.Get(key, &s)
	return s
}

// Int is the value of a key that holds a whole number, else 0.
func (c *Config) Int(key string) int64 {
	var n int64
	c.Get(key, &n)
	return n
}

// Set gives key a value, at the end where it is new.
func (c *Config) Set(key string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	if !c.Has(key) {
		c.keys = append(c.keys, key)
	}
	c.values[key] = bytes.TrimSpace(b.Bytes())
	return nil
}

// Delete removes a key.
func (c *Config) Delete(key string) {
	delete(c.values, key)
	for i, k := range c.keys {
		if k == key {
			c.keys = append(c.keys[:i:i], c.keys[i+1:]...)
			return
		}
	}
}

// Encode spells the object with two spaces of indent and a newline at the end, as transformers does.
func (c *Config) Encode() ([]byte, error) {
	var flat bytes.Buffer
	flat.WriteByte('{')
	for i, k := range c.keys {
		if i > 0 {
			flat.WriteByte(',')
		}
		var key bytes.Buffer
		e := json.NewEncoder(&key)
		e.SetEscapeHTML(false)
		if err := e.Encode(k); err != nil {
			return nil, err
		}
		flat.Write(bytes.TrimSpace(key.Bytes()))
		flat.WriteByte(':')
		flat.Write(c.values[k])
	}
	flat.WriteByte('}')
	var out bytes.Buffer
	if err := json.Indent(&out, flat.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// text is the part of a configuration that describes the language model: the whole, or text_config of a model with several parts.
func (c *Config) text() *Config {
	if raw, ok := c.values["text_config"]; ok {
		if t, err := ParseConfig(raw); err == nil {
			return t
		}
	}
	return c
}
