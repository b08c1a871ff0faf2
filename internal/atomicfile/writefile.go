package atomicfile

// WriteFile puts content at target, by the rules of this package.
func WriteFile(target string, content []byte) error {
	f, err := Create(target)
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Commit()
}
