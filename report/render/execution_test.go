package render_test

import (
	"strings"
	"testing"

	"github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/render"
)

// TestAFallbackIsSaid: where a GPU was asked for and none was taken, the table says why.
func TestAFallbackIsSaid(t *testing.T) {
	r := &report.Report{Kind: report.KindCalibrate, Calibration: &report.Calibration{}, Volatile: report.Volatile{Fallback: "no driver\x1b[31m"}}
	r.Finish()
	var b strings.Builder
	if err := render.Table(&b, r, render.Options{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "without a GPU: no driver") || strings.Contains(b.String(), "\x1b") {
		t.Errorf("got %q", b.String())
	}
}
