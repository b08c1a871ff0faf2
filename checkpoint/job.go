package checkpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/internal/mapfile"
	"github.com/fp8rewrite/fp8rewrite/safetensors"
)

// part is one tensor of an output shard. fill computes its content; where it is nil, the tensor's own content is written.
type part struct {
	safetensors.Tensor
	fill func(ctx context.Context, s *scratch, emit func([]byte) error) error
}

// computed is the content of a tensor that fill makes.
type computed int64

func (c computed) Size() int64 { return int64(c) }

func (c computed) WriteTo(io.Writer) (int64, error) {
	return 0, errors.New("the content is computed where it is written")
}

// work is what a conversion and a restoration have in common for those who write them.
type work interface {
	// fingerprint is what the output depends on beside the source.
	fingerprint() any
	// shard measures what shard i depends on, and gives what it will hold.
	shard(ctx context.Context, p *pool, i int) ([]part, map[string]string, error)
	// record is what the rest of the job must know of shard i once it is written, replay takes it from the journal of an earlier run.
	record(i int) any
	replay(i int, raw json.RawMessage) error
	// edits are the files beside the shards, config.json included; a file that maps to nil is left out.
	edits() (map[string][]byte, error)
}

// Group is the processes that share a job, on one file system.
type Group interface {
	Rank() int
	Size() int
	Barrier(ctx context.Context) error
}

// RunOptions are the choices of a run that do not change its output.
type RunOptions struct {
	Workers  int  // 0 for one per processor
	Resume   bool // go on from what an interrupted run left
	Force    bool // replace a folder that is there
	Group    Group
	Version  string // of this program
	Progress func(done, total int64)
}

// FileInfo is a file that was read or written.
type FileInfo struct {
	Name  string
	Bytes int64
	XXH64 string
}

// Result is what a run wrote.
type Result struct {
	Inputs, Outputs []FileInfo // the files of tensors
	Bytes           int64      // of the files of tensors
	Resumed         int        // shards that an earlier run had written
}

// Digest is one SHA-256 over the names, sizes and hashes of files.
func Digest(files []FileInfo) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%s %d %s\n", f.XXH64, f.Bytes, f.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ExistsError says that there is something at the target.
type ExistsError struct{ Path string }

func (e *ExistsError) Error() string { return fmt.Sprintf("%s is there and is not empty", e.Path) }

// NothingToResumeError says that no interrupted run left anything.
type NothingToResumeError struct{ Path string }

func (e *NothingToResumeError) Error() string {
	return fmt.Sprintf("%s: no interrupted run left anything to go on from", e.Path)
}

// Leftover is the folder beside target in which its content is built, and which a run that was killed leaves.
func Leftover(target string) string {
	clean := filepath.Clean(target)
	return filepath.Join(filepath.Dir(clean), "."+filepath.Base(clean)+".fp8rewrite-partial")
}

// Peak is about how many bytes of memory a run takes, beside the pages of mapped files.
func (s *Source) Peak(workers int) int64 {
	headers := int64(0)
	for _, sh := range s.Shards {
		headers += 1024 * int64(len(sh.File.Tensors)) // a tensor, its layer and its row
	}
	return int64(max(workers, 1))*scratchBytes + headers + 24<<20 // the program itself
}

// Workers is the number of workers that a run takes where it is not told.
func Workers(n int) int {
	if n > 0 {
		return n
	}
	return goruntime.GOMAXPROCS(0)
}

// job is one run.
type job struct {
	work
	src    *Source
	opt    RunOptions
	target string
	dir    string // Leftover(target)
	files  string // in which the output's files lie
	id     string
	pool   *pool
	result Result
	done   int64
}

// run writes the output of w at target, which appears whole or not at all. An error that is the context's leaves what was done for Resume; after
// any other nothing is left.
func run(ctx context.Context, src *Source, w work, target string, opt RunOptions) (*Result, error) {
	j := &job{work: w, src: src, opt: opt, target: filepath.Clean(target), dir: Leftover(target)}
	j.files = filepath.Join(j.dir, "files")
	var err error
	if j.id, err = j.identify(); err != nil {
		return nil, err
	}
	if err := j.prepare(ctx); err != nil {
		return nil, err
	}
	j.pool = newPool(Workers(opt.Workers))
	err = j.write(ctx)
	if err != nil && ctx.Err() == nil && j.rank() == 0 {
		os.RemoveAll(j.dir)
	}
	if err != nil {
		return nil, err
	}
	return &j.result, nil
}

func (j *job) rank() int {
	if j.opt.Group == nil {
		return 0
	}
	return j.opt.Group.Rank()
}

func (j *job) ranks() int {
	if j.opt.Group == nil {
		return 1
	}
	return j.opt.Group.Size()
}

func (j *job) barrier(ctx context.Context) error {
	if j.opt.Group == nil {
		return nil
	}
	return j.opt.Group.Barrier(ctx)
}

// identify is a digest of all that the output depends on.
func (j *job) identify() (string, error) {
	type file struct {
		Name   string
		Size   int64
		Time   int64
		Header string
	}
	about := struct {
		Version string
		Work    any
		Config  string
		Files   []file
	}{Version: j.opt.Version, Work: j.fingerprint()}
	if j.src.Config != nil {
		b, err := j.src.Config.Encode()
		if err != nil {
			return "", err
		}
		about.Config = string(b)
	}
	for _, sh := range j.src.Shards {
		info, err := os.Stat(sh.path)
		if err != nil {
			return "", err
		}
		head, err := safetensors.Header(sh.File.Tensors, sh.File.Metadata)
		if err != nil {
			return "", err
		}
		about.Files = append(about.Files, file{sh.Name, info.Size(), info.ModTime().UnixNano(), fmt.Sprintf("%016x", xxhash.Sum64(head))})
	}
	b, err := json.Marshal(about)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// prepare looks at what is there, and makes the folder to build in.
func (j *job) prepare(ctx context.Context) error {
	if j.rank() == 0 {
		if err := j.begin(); err != nil {
			return err
		}
	}
	return j.barrier(ctx)
}

func (j *job) begin() error {
	if err := CheckTarget(j.src, j.target, j.opt.Force); err != nil && !j.finished() {
		return err
	}
	_, err := os.Stat(j.dir)
	switch {
	case err == nil && !j.opt.Resume:
		if err := os.RemoveAll(j.dir); err != nil {
			return err
		}
	case err != nil && j.opt.Resume:
		return &NothingToResumeError{j.target}
	case err == nil:
		if _, _, err := readJournals(j.dir, j.id); err != nil {
			return err
		}
	}
	if j.finished() { // the folder of files may have become the output
		return nil
	}
	return os.MkdirAll(j.files, 0o777)
}

// finished reports whether an earlier run was killed after its output got its name, and before the rest was removed.
func (j *job) finished() bool {
	if !j.opt.Resume {
		return false
	}
	_, err := os.Stat(filepath.Join(j.dir, movedMark))
	return err == nil
}

// CheckTarget says what forbids to write the output of src at target.
func CheckTarget(src *Source, target string, force bool) error {
	info, err := os.Lstat(target)
	if errors.Is(err, os.ErrNotExist) {
		parent, err := os.Stat(filepath.Dir(filepath.Clean(target)))
		if err != nil {
			return fmt.Errorf("%s: folder: %w", target, err)
		}
		if !parent.IsDir() {
			return fmt.Errorf("%s: %q is not a folder", target, filepath.Dir(target))
		}
		return nil
	}
	switch {
	case err != nil:
		return err
	case atomicfile.SameFile(src.Path, target):
		return fmt.Errorf("output %q is the same as the input %q", target, src.Path)
	case info.Mode()&os.ModeSymlink != 0:
		return fmt.Errorf("%s: is a symbolic link: name what it points to", target)
	case src.Folder && !info.IsDir():
		return fmt.Errorf("%s: is a file, and the output is a folder", target)
	case !src.Folder && info.IsDir():
		return fmt.Errorf("%s: is a folder, and the output is a file", target)
	case !src.Folder && !info.Mode().IsRegular():
		return fmt.Errorf("%s: is not a regular file", target)
	case src.Folder && !force:
		list, err := os.ReadDir(target)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			return &ExistsError{target}
		}
	}
	return nil
}

// write does the work: the shards of this rank, then, on rank 0, what is left and the move.
func (j *job) write(ctx context.Context) error {
	shards, files, err := readJournals(j.dir, j.id)
	if err != nil {
		return err
	}
	if err := j.barrier(ctx); err != nil { // nobody adds to a journal that another one is reading
		return err
	}
	if j.finished() {
		return j.again(ctx, shards)
	}
	log, err := openJournal(j.dir, j.rank(), j.id)
	if err != nil {
		return err
	}
	defer log.close()
	var after syncing
	for i := range j.src.Shards {
		e, there := shards[i]
		switch {
		case there && j.whole(e, j.outputName(i)):
			if err := j.replay(i, e.Record); err != nil {
				return err
			}
			j.result.Resumed++
			j.progress(j.src.Shards[i].Size)
		case i%j.ranks() == j.rank():
			if err := j.shardFile(ctx, i, log, &after); err != nil {
				after.wait()
				return err
			}
		}
	}
	if err := after.wait(); err != nil {
		return err
	}
	if err := j.barrier(ctx); err != nil {
		return err
	}
	if j.rank() > 0 {
		return j.barrier(ctx) // until the output has its name
	}
	if err := j.rest(ctx, log, files); err != nil {
		return err
	}
	if err := log.close(); err != nil {
		return err
	}
	if err := j.move(); err != nil {
		return err
	}
	return j.barrier(ctx)
}

// again ends what an earlier run had all but ended.
func (j *job) again(ctx context.Context, shards map[int]entry) error {
	for i := range j.src.Shards {
		if err := j.replay(i, shards[i].Record); err != nil {
			return err
		}
		j.result.Resumed++
	}
	if j.rank() == 0 {
		if err := j.gather(shards); err != nil {
			return err
		}
		if err := j.move(); err != nil {
			return err
		}
	}
	return j.barrier(ctx)
}

// gather lists the files of tensors.
func (j *job) gather(shards map[int]entry) error {
	for i, sh := range j.src.Shards {
		e, ok := shards[i]
		if !ok {
			return fmt.Errorf("%s: no rank has written it", j.outputName(i))
		}
		j.result.Inputs = append(j.result.Inputs, FileInfo{sh.Name, sh.Size, e.Input})
		j.result.Outputs = append(j.result.Outputs, FileInfo{j.outputName(i), e.Size, e.Hash})
		j.result.Bytes += e.Size
	}
	return nil
}

// outputName is the file of shard i in the output.
func (j *job) outputName(i int) string {
	if !j.src.Folder {
		return filepath.Base(j.target)
	}
	return j.src.Shards[i].Name
}

// whole reports whether a file that a journal lists is there; its content was synced before it was listed.
func (j *job) whole(e entry, name string) bool {
	info, err := os.Stat(filepath.Join(j.files, filepath.FromSlash(name)))
	return err == nil && info.Size() == e.Size
}

func (j *job) progress(n int64) {
	j.done += n
	if j.opt.Progress != nil {
		j.opt.Progress(j.done, j.src.Bytes())
	}
}

// syncing is a shard that is written and on its way to the disk, while the next one is computed.
type syncing struct{ done chan error }

func (s *syncing) wait() error {
	if s.done == nil {
		return nil
	}
	err := <-s.done
	s.done = nil
	return err
}

func (s *syncing) start(f func() error) {
	s.done = make(chan error, 1)
	go func() { s.done <- f() }()
}

// shardFile writes one shard.
func (j *job) shardFile(ctx context.Context, i int, log *journal, after *syncing) error {
	parts, metadata, err := j.shard(ctx, j.pool, i)
	if err != nil {
		return err
	}
	parts = slices.Clone(parts)
	tensors := make([]safetensors.Tensor, len(parts))
	byName := make(map[string]part, len(parts))
	for k, p := range parts {
		tensors[k], byName[p.Name] = p.Tensor, p
	}
	safetensors.Order(tensors)
	header, err := safetensors.Header(tensors, metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", j.outputName(i), err)
	}
	path := filepath.Join(j.files, j.outputName(i))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	type placed struct {
		part
		at int64
	}
	queue := make([]placed, len(tensors))
	at := int64(len(header))
	for k, t := range tensors {
		queue[k] = placed{byName[t.Name], at}
		at += t.Size()
	}
	size := at
	slices.SortStableFunc(queue, func(a, b placed) int { return int(min(max(b.Size()-a.Size(), -1), 1)) }) // the longest first, so that all end together
	if _, err = f.WriteAt(header, 0); err == nil {
		err = j.pool.each(ctx, len(queue), func(ctx context.Context, s *scratch, k int) error {
			return writePart(ctx, f, s, queue[k].part, queue[k].at)
		})
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", j.outputName(i), err)
	}
	j.progress(j.src.Shards[i].Size)
	if err := after.wait(); err != nil {
		f.Close()
		return err
	}
	record, err := json.Marshal(j.record(i))
	if err != nil {
		f.Close()
		return err
	}
	after.start(func() error {
		defer f.Close()
		e := entry{Shard: &i, Size: size, Record: record}
		var err error
		if e.Hash, err = hashFile(f, size); err != nil {
			return err
		}
		if e.Input, err = j.src.Shards[i].hash(); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("%s: %w", j.outputName(i), err)
		}
		return log.add(e)
	})
	return nil
}

// copyBytes is how much of a tensor that stays as it is goes out at a time.
const copyBytes = 4 << 20

// writePart writes the content of one tensor at its place.
func writePart(ctx context.Context, f *os.File, s *scratch, p part, at int64) error {
	end := at + p.Size()
	emit := func(b []byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if int64(len(b)) > end-at {
			return fmt.Errorf("tensor %q: more bytes than its %d", p.Name, p.Size())
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
		atomicfile.StartWriting(f, at, int64(len(b)))
		at += int64(len(b))
		return nil
	}
	err := error(nil)
	if p.fill != nil {
		err = p.fill(ctx, s, emit)
	} else {
		var b []byte
		if b, err = p.Bytes(); err == nil {
			for len(b) > 0 && err == nil {
				n := min(len(b), copyBytes)
				err, b = emit(b[:n]), b[n:]
			}
		}
	}
	if err != nil {
		return fmt.Errorf("tensor %q: %w", p.Name, err)
	}
	if at != end {
		return fmt.Errorf("tensor %q: %d bytes are missing", p.Name, end-at)
	}
	return nil
}

// hashFile is the xxHash of a file's content.
func hashFile(r io.ReaderAt, size int64) (string, error) {
	h := xxhash.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(r, 0, size), make([]byte, 1<<20))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Sprintf("%016x", h.Sum64()), err
}

// hash is the xxHash of the shard's file.
func (s *Shard) hash() (string, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, err := hashFile(f, s.Size)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.path, err)
	}
	return sum, nil
}

// rest gathers what the journals of the ranks say, makes the other files, and says that all is complete.
func (j *job) rest(ctx context.Context, log *journal, copied map[string]entry) error {
	shards, _, err := readJournals(j.dir, j.id)
	if err != nil {
		return err
	}
	if err := j.gather(shards); err != nil {
		return err
	}
	for i := range j.src.Shards {
		if i%j.ranks() != j.rank() {
			if err := j.replay(i, shards[i].Record); err != nil {
				return err
			}
		}
	}
	if j.src.Folder {
		if err := j.beside(ctx, log, copied); err != nil {
			return err
		}
	}
	if err := atomicfile.SyncDir(j.files); err != nil {
		return err
	}
	return complete(j.dir, j.id, shards, copied)
}

// beside makes the files of a folder that hold no tensors.
func (j *job) beside(ctx context.Context, log *journal, copied map[string]entry) error {
	edits, err := j.edits()
	if err != nil {
		return err
	}
	for _, name := range j.src.Others {
		if _, replaced := edits[name]; replaced {
			continue
		}
		if e, there := copied[name]; there && j.whole(e, name) {
			continue
		}
		if err := j.copyFile(ctx, name, log); err != nil {
			return err
		}
	}
	if j.src.Index != "" {
		if edits[j.src.Index], err = j.index(); err != nil {
			return err
		}
	}
	for name, content := range edits {
		if content == nil {
			continue
		}
		if err := writeFile(filepath.Join(j.files, name), content); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a small file in the folder that is being built, where a half one does no harm: it is written again.
func writeFile(path string, content []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// copyFile copies a file that is not understood, with its folders and permissions.
func (j *job) copyFile(ctx context.Context, name string, log *journal) error {
	from, to := filepath.Join(j.src.Path, filepath.FromSlash(name)), filepath.Join(j.files, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, stoppable{ctx, in})
	if err == nil {
		err = out.Sync()
	}
	if e := out.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return log.add(entry{File: name, Size: n})
}

// stoppable reads until its context ends.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s stoppable) Read(b []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.r.Read(b)
}

// index is the index of the shards as they were written.
func (j *job) index() ([]byte, error) {
	var list []safetensors.Shard
	for i := range j.src.Shards {
		f, err := safetensors.Open(filepath.Join(j.files, j.outputName(i)))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		list = append(list, safetensors.Shard{Name: j.outputName(i), Tensors: f.Tensors})
	}
	var b sliceWriter
	err := mapfile.Guard(func() error { return safetensors.WriteIndex(&b, list) })
	return b, err
}

type sliceWriter []byte

func (w *sliceWriter) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}

// move gives the output its name, and removes the rest.
func (j *job) move() error {
	from := j.files
	if !j.src.Folder {
		from = filepath.Join(j.files, filepath.Base(j.target))
	}
	if _, err := os.Lstat(from); err == nil {
		// A folder that was there steps aside; an empty one does too, since not every system renames onto it.
		old, aside := filepath.Join(j.dir, "old"), false
		if _, err := os.Lstat(j.target); err == nil && j.src.Folder {
			if err := os.Rename(j.target, old); err != nil {
				return err
			}
			aside = true
		}
		if err := os.Rename(from, j.target); err != nil {
			if aside {
				err = errors.Join(err, os.Rename(old, j.target))
			}
			return err
		}
	}
	if err := atomicfile.SyncDir(filepath.Dir(j.target)); err != nil {
		return err
	}
	return discard(j.dir)
}
