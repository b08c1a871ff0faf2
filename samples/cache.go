package samples

// cache holds unpacked arrays as long as they fit together; what was used least lately goes first. A folder of compressed files can so be
// larger than memory, as long as each of its arrays is not.
type cache struct {
	max, size int64
	entries   []*entry // least lately used first
}

type entry struct {
	key  *part
	data []byte
	free func()
}

// get is the data of key, size bytes that load writes where they are not there. It is valid until the next call.
func (c *cache) get(key *part, size int64, load func(dst []byte) error) ([]byte, error) {
	for i, e := range c.entries {
		if e.key == key {
			c.entries = append(append(c.entries[:i:i], c.entries[i+1:]...), e)
			return e.data, nil
		}
	}
	for len(c.entries) > 0 && size > c.max-c.size { // before, so that both never lie there together
		c.drop()
	}
	data, free, err := allocate(size)
	if err != nil {
		return nil, err
	}
	if err := load(data); err != nil {
		free()
		return nil, err
	}
	c.entries = append(c.entries, &entry{key, data, free})
	c.size += size
	return data, nil
}

// drop forgets what was used least lately.
func (c *cache) drop() {
	e := c.entries[0]
	c.entries = c.entries[1:]
	c.size -= int64(len(e.data))
	e.data = nil
	e.free()
}

// clear gives everything back.
func (c *cache) clear() {
	for len(c.entries) > 0 {
		c.drop()
	}
}
