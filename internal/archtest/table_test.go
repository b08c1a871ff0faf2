package archtest

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
)

// room is one row of the table: a package and everything beneath it that has no row of its own.
type room struct {
	name  string   // path relative to the module, such as "report/render"
	may   []string // rooms it may import
	all   bool     // may import every room
	later bool     // announced: its folder need not exist
}

// table maps a room's name to its row.
type table map[string]room

var ticked = regexp.MustCompile("`([^`]+)`")

// readTable reads the markdown table whose header has the cells "package" and "may import" (in any case; text after them is free). The
// package is the backticked name in its cell. The other cell is the backticked names that it may import, or the word "nothing",
// or "all". A row that says "later" announces a package.
func readTable(r io.Reader) (table, error) {
	t := table{}
	pkg, may := -1, -1
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for line := 1; sc.Scan(); line++ {
		cells := splitRow(sc.Text())
		if cells == nil {
			if len(t) > 0 {
				break
			}
			pkg, may = -1, -1
			continue
		}
		if pkg < 0 {
			pkg = slices.IndexFunc(cells, func(c string) bool { return strings.HasPrefix(strings.ToLower(c), "package") })
			may = slices.IndexFunc(cells, func(c string) bool { return strings.HasPrefix(strings.ToLower(c), "may import") })
			if pkg < 0 || may < 0 {
				pkg, may = -1, -1
			}
			continue
		}
		if strings.Trim(cells[0], "-: ") == "" {
			continue
		}
		if len(cells) <= max(pkg, may) {
			return nil, fmt.Errorf("line %d: %d cells, want at least %d", line, len(cells), max(pkg, may)+1)
		}
		name := ticked.FindStringSubmatch(cells[pkg])
		if name == nil {
			return nil, fmt.Errorf("line %d: no package name in backticks in %q", line, cells[pkg])
		}
		row := room{name: path.Clean(name[1]), later: strings.Contains(strings.ToLower(cells[pkg]), "later")}
		for _, m := range ticked.FindAllStringSubmatch(cells[may], -1) {
			row.may = append(row.may, path.Clean(m[1]))
		}
		if len(row.may) == 0 {
			switch word := strings.ToLower(strings.TrimSpace(cells[may])); {
			case strings.HasPrefix(word, "all"):
				row.all = true
			case strings.HasPrefix(word, "nothing"):
			default:
				return nil, fmt.Errorf("line %d: package %q may import %q, want backticked names, \"nothing\" or \"all\"", line, row.name, cells[may])
			}
		}
		if _, twice := t[row.name]; twice {
			return nil, fmt.Errorf("line %d: package %q has two rows", line, row.name)
		}
		t[row.name] = row
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	if len(t) == 0 {
		return nil, fmt.Errorf("no table with the columns \"package\" and \"may import\"")
	}
	for _, row := range t {
		for _, m := range row.may {
			if _, ok := t[m]; !ok {
				return nil, fmt.Errorf("package %q may import %q, which has no row", row.name, m)
			}
		}
	}
	return t, nil
}

// splitRow is the trimmed cells of a markdown table row, or nil for another line.
func splitRow(line string) []string {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "|") {
		return nil
	}
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

// roomOf is the row of the package at dir, a path relative to the module: its own, or that of the nearest folder above it.
func (t table) roomOf(dir string) (room, bool) {
	for d := dir; d != "."; d = path.Dir(d) {
		if row, ok := t[d]; ok {
			return row, true
		}
	}
	return room{}, false
}

// allows says whether the package at from may import the package at to, both relative to the module, and if not, why.
func (t table) allows(from, to string) error {
	a, ok := t.roomOf(from)
	if !ok {
		return fmt.Errorf("package %q has no row in the table", from)
	}
	b, ok := t.roomOf(to)
	if !ok {
		return fmt.Errorf("package %q imports %q, which has no row in the table", from, to)
	}
	if a.all || a.name == b.name || slices.Contains(a.may, b.name) {
		return nil
	}
	return fmt.Errorf("package %q imports %q: room %q may import %q only", from, to, a.name, a.may)
}
