package policy

import (
	"fmt"
	"strings"
	"testing"
)

func TestSetTakesThePlaceOfAKey(t *testing.T) {
	p, err := Read(strings.NewReader("version: 1\nmodel: a\nbaseline: b\ndata: c\nverify: {min-sqnr: 20, steps: 4}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Set(Verify, Setting{"min-sqnr", []string{"30"}}) || !p.Set(Convert, Setting{"recipe", []string{"dynamic"}}) {
		t.Error("a setting is not taken")
	}
	if p.Set(Calibrate, Setting{"freeze", []string{"true"}}) {
		t.Error("a section that is not there takes a setting")
	}
	v, _ := p.Section(Verify)
	c, _ := p.Section(Convert)
	if got := fmt.Sprint(v, c); got != "[{steps [4]} {min-sqnr [30]}] [{recipe [dynamic]}]" {
		t.Errorf("got %s", got)
	}
}
