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
	if !b.on {
		return nil
	}
	var p *progressbar.ProgressBar
	return func(done, total int64) {
		if p == nil {
			b.clear()
			p = progressbar.NewOptions64(total, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(what),
				progressbar.OptionShowBytes(true), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth())
			b.current = p
		}
		p.Set64(done)
	}
}

// clear takes the bar off the screen.
func (b *bar) clear() {
	if b.current != nil {
		b.current.Clear()
		b.current = nil
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth is the number of columns of w, 0 where w is no terminal.
func terminalWidth(w io.Writer) int {
	if !isTerminal(w) {
		return 0
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil {
		return 0
	}
	return width
}
