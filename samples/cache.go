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
}

// get is the data of key, which load makes where it is not there.
func (c *cache) get(key *part, load func() ([]byte, error)) ([]byte, error) {
	for i, e := range c.entries {
		if e.key == key {
			c.entries = append(append(c.entries[:i:i], c.entries[i+1:]...), e)
			return e.data, nil
		}
	}
	data, err := load()
	if err != nil {
		return nil, err
	}
	for len(c.entries) > 0 && c.size+int64(len(data)) > c.max {
		c.size -= int64(len(c.entries[0].data))
		c.entries = c.entries[1:]
	}
	c.entries = append(c.entries, &entry{key, data})
	c.size += int64(len(data))
	return data, nil
}
