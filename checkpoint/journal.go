package checkpoint

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
)

// journal is the list of what a job has written and synced, a line of JSON for each, in the folder where the output is built. Every rank has
// its own. A last line that was cut short says nothing.
type journal struct{ f *os.File }

// entry is a line: the first one names the job, each other a shard or a copied file.
type entry struct {
	Job    string          `json:"job,omitempty"`
	Shard  *int            `json:"shard,omitempty"`
	File   string          `json:"file,omitempty"`
	Size   int64           `json:"size"`
	Hash   string          `json:"xxh64,omitempty"`
	Input  string          `json:"input_xxh64,omitempty"`
	Record json.RawMessage `json:"record,omitempty"`
}

const journalPrefix, journalSuffix = "journal-", ".jsonl"

// OtherJobError says that what an interrupted run left belongs to another job.
type OtherJobError struct{ Path string }

func (e *OtherJobError) Error() string {
	return fmt.Sprintf("%s is of a job with another input, other settings or another version of this program", e.Path)
}

// openJournal continues the journal of a rank, or begins it.
func openJournal(dir string, rank int, job string) (*journal, error) {
	path := filepath.Join(dir, journalPrefix+strconv.Itoa(rank)+journalSuffix)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	j := &journal{f}
	if err = f.Truncate(int64(whole)); err == nil {
		_, err = f.Seek(int64(whole), io.SeekStart)
	}
	if err == nil && whole == 0 {
		err = j.add(entry{Job: job})
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// add appends a line and brings it to the disk.
func (j *journal) add(e entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := j.f.Write(append(b, '\n')); err != nil {
		return err
	}
	return j.f.Sync()
}

func (j *journal) close() error { return j.f.Close() }

// readJournals reads the journals of all ranks in dir.
func readJournals(dir, job string) (shards map[int]entry, files map[string]entry, err error) {
	shards, files = map[int]entry{}, map[string]entry{}
	paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), journalPrefix+"*"+journalSuffix))
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, movedMark)); err == nil { // it has them all, and they may be gone
		paths = []string{filepath.Join(dir, movedMark)}
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, err
		}
		lines := bufio.NewScanner(bytes.NewReader(b[:bytes.LastIndexByte(b, '\n')+1]))
		lines.Buffer(nil, len(b)+1)
		for first := true; lines.Scan(); first = false {
			var e entry
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", path, err)
			}
			switch {
			case first && e.Job != job:
				return nil, nil, &OtherJobError{path}
			case first:
			case e.Shard != nil:
				shards[*e.Shard] = e
			default:
				files[e.File] = e
			}
		}
	}
	return shards, files, nil
}

// movedMark is the file that says that the output is complete and is getting its name. It is a journal with the lines of all.
const movedMark = "complete"

// complete makes the mark.
func complete(dir, job string, shards map[int]entry, files map[string]entry) error {
	list := []entry{{Job: job}}
	for _, i := range slices.Sorted(maps.Keys(shards)) {
		list = append(list, shards[i])
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, files[name])
	}
	var b bytes.Buffer
	for _, e := range list {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	return atomicfile.WriteFile(filepath.Join(dir, movedMark), b.Bytes())
}

// discard removes the folder dir, the mark after all else: as long as it is there, a run can go on from it.
func discard(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Name() != movedMark {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.RemoveAll(dir)
}

// escapeGlob spells a path so that a pattern matches it alone.
func escapeGlob(path string) string {
	if os.PathSeparator == '\\' {
		return path // there is no escape on that system; brackets in folder names are rare
	}
	var b bytes.Buffer
	for _, r := range path {
		if r == '*' || r == '?' || r == '[' || r == '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
