package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows progress on a terminal, and nothing elsewhere.
type bar struct {
	w       io.Writer
	on      bool
	current *progressbar.ProgressBar
}

func newBar(w io.Writer, quiet bool) *bar {
	return &bar{w: w, on: !quiet && isTerminal(w)}
}

// stage gives the function that one stage of the work calls with bytes done and in all; nil where nothing is shown.
func (b *bar) stage(what string) func(done, total int64) {
	return b.show(what, progressbar.OptionShowBytes(true))
}

// count gives the function that one stage of the work calls with units done and in all; nil where nothing is shown.
func (b *bar) count(what, unit string) func(done, total int64) {
	return b.show(what, progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit))
}

func (b *bar) show(what string, options ...progressbar.Option) func(done, total int64) {
	if !b.on {
		return nil
	}
	var p *progressbar.ProgressBar
	return func(done, total int64) {
		if p == nil {
			b.clear()
			to := &patient{w: b.w, from: time.Now().Add(patience)}
			p = progressbar.NewOptions64(total, append(options, progressbar.OptionSetWriter(to), progressbar.OptionSetDescription(what),
				progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth())...)
			b.current = p
		}
		if total != p.GetMax64() {
			p.ChangeMax64(total)
		}
		p.Set64(done)
	}
}

// patience is how long work lasts before it is worth a bar.
const patience = 300 * time.Millisecond

// patient drops what is written to it before its time, so that short work does not flicker.
type patient struct {
	w    io.Writer
	from time.Time
	on   bool
}

func (p *patient) Write(b []byte) (int, error) {
	if !p.on && time.Now().Before(p.from) {
		return len(b), nil
	}
	p.on = true
	return p.w.Write(b)
}

// clear takes the bar off the screen.
func (b *bar) clear() {
	if b.current != nil {
		b.current.Clear()
		b.current = nil
	}
}

// output remembers the first error of what it writes to, for those who write and do not look.
type output struct {
	io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// file is the file that w writes to, nil if it is something else.
func file(w io.Writer) *os.File {
	if o, ok := w.(*output); ok {
		w = o.Writer
	}
	f, _ := w.(*os.File)
	return f
}

func isTerminal(w io.Writer) bool {
	f := file(w)
	return f != nil && term.IsTerminal(int(f.Fd()))
}

// terminalWidth is the number of columns of w, 0 where w is no terminal.
func terminalWidth(w io.Writer) int {
	if !isTerminal(w) {
		return 0
	}
	width, _, err := term.GetSize(int(file(w).Fd()))
	if err != nil {
		return 0
	}
	return width
}
