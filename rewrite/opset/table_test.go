package opset

import (
	"bufio"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// published reads testdata/steps.txt: per operator the versions that define it, oldest first.
func published(t *testing.T) (ops map[string][]int64, source string) {
	t.Helper()
	f, err := os.Open("testdata/steps.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ops = map[string][]int64{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") {
			source = sc.Text()
			continue
		}
		fields := strings.Fields(sc.Text())
		v, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ops[fields[0]] = append(ops[fields[0]], v)
	}
	return ops, source
}

func TestEveryPublishedStepIsInTheTable(t *testing.T) {
	ops, source := published(t)
	have := map[change]int{}
	for _, s := range steps {
		have[change{s.op, s.at}]++
		if s.what == "" {
			t.Errorf("%s %d: what changed is not said", s.op, s.at)
		}
	}
	total, late, converted, blocks := 0, 0, 0, 0
	for op, versions := range ops {
		if born[op] != versions[0] {
			t.Errorf("%s: born %d, want %d", op, born[op], versions[0])
		}
		for _, v := range versions[1:] {
			if v > newest {
				continue
			}
			total++
			if v > 7 {
				late++
			}
			if have[change{op, v}] != 1 {
				t.Errorf("%s %d: %d lines in the table, want 1", op, v, have[change{op, v}])
			}
		}
	}
	for _, s := range steps {
		switch {
		case s.convert == nil:
		case reflect.ValueOf(s.convert).Pointer() == reflect.ValueOf(tooOld).Pointer():
			blocks++
		default:
			converted++
		}
	}
	if len(steps) != total {
		t.Errorf("table has %d steps, the list %d", len(steps), total)
	}
	if len(born) != len(ops) {
		t.Errorf("table has %d operators, the list %d", len(born), len(ops))
	}
	t.Logf("%s: %d operators, %d steps (%d after version 7), %d with a conversion or a check, %d refused", source, len(ops), total, late, converted, blocks)
}
