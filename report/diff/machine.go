package diff

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// SchemaVersion is the version of the JSON form: major.minor, as a report's.
const SchemaVersion = "1.1"

type jsonSide struct {
	File          string `json:"file"`
	SchemaVersion string `json:"schema_version"`
	Kind          string `json:"kind"`
	InputSHA256   string `json:"input_sha256"`
}

type jsonFinding struct {
	Kind     Kind            `json:"kind"`
	Severity Severity        `json:"severity"`
	Fails    bool            `json:"fails"`
	Path     string          `json:"path"`
	Old      json.RawMessage `json:"old"`
	New      json.RawMessage `json:"new"`
	Sentence string          `json:"sentence"`
	Detail   string          `json:"detail"`
}

// json is the canonical form: keys in a fixed order, two spaces, escapes as in a report.
func (o Options) json(r *Result) ([]byte, error) {
	side := func(file string, s Side) jsonSide {
		return jsonSide{file, s.SchemaVersion, string(s.Kind), s.InputSHA256}
	}
	doc := struct {
		SchemaVersion string        `json:"schema_version"`
		Old           jsonSide      `json:"old"`
		New           jsonSide      `json:"new"`
		Tolerances    Tolerances    `json:"tolerances"`
		FailOn        []Kind        `json:"fail_on"`
		Failed        bool          `json:"failed"`
		Errors        int           `json:"errors"`
		Warnings      int           `json:"warnings"`
		Notes         int           `json:"notes"`
		UnmetGates    []string      `json:"unmet_gates"` // since 1.1
		Findings      []jsonFinding `json:"findings"`
	}{SchemaVersion, side(o.OldName, r.Old), side(o.NewName, r.New), r.Tolerances, slices.Concat([]Kind{}, o.FailOn),
		len(r.Failing(o.FailOn)) > 0 || len(o.UnmetGates) > 0, r.count(Error), r.count(Warning), r.count(Note),
		append([]string{}, o.UnmetGates...), []jsonFinding{}}
	if doc.FailOn == nil {
		doc.FailOn = []Kind{}
	}
	say := sentences()
	for _, f := range r.Findings {
		doc.Findings = append(doc.Findings, jsonFinding{f.Kind, f.Severity, slices.Contains(o.FailOn, f.Kind), f.Path,
			json.RawMessage(f.Old), json.RawMessage(f.New), say[f.Kind], f.Detail})
	}
	return indented(doc)
}

func indented(doc any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return []byte(escapeUnsafe(b.String())), nil
}

type junitSuites struct {
	XMLName  xml.Name   `xml:"testsuites"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Suite    junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
	Out      string      `xml:"system-out"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitFailure `xml:"failure"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// junit is a test suite with a case per kind, which fails where there are findings of a kind that fails. Findings of another kind stand
// in the case's output.
func (o Options) junit(r *Result) ([]byte, error) {
	lines, found := map[Kind]*strings.Builder{}, map[Kind]int{}
	for i := range r.Findings {
		f := &r.Findings[i]
		if lines[f.Kind] == nil {
			lines[f.Kind] = new(strings.Builder)
		}
		fmt.Fprintf(lines[f.Kind], "%s: %s\n", cut(f.Path, maxPath), f.values())
		found[f.Kind]++
	}
	suite := junitSuite{Name: "fp8rewrite diff"}
	for _, k := range Kinds() {
		c := junitCase{Name: string(k.Kind), Class: "fp8rewrite.diff." + string(k.Severity)}
		switch n := found[k.Kind]; {
		case n > 0 && slices.Contains(o.FailOn, k.Kind):
			c.Failure = &junitFailure{Message: plural(n, "difference") + ": " + k.Sentence, Type: string(k.Kind), Text: lines[k.Kind].String()}
			suite.Failures++
		case n > 0:
			c.Out = lines[k.Kind].String()
		}
		suite.Cases = append(suite.Cases, c)
	}
	if n := len(o.UnmetGates); n > 0 { // what the old report says of them is another matter
		gates := make([]string, n)
		for i, g := range o.UnmetGates {
			gates[i] = plain(g)
		}
		are := " is not met"
		if n > 1 {
			are = " are not met"
		}
		suite.Cases = append(suite.Cases, junitCase{Name: "gates", Class: "fp8rewrite.check",
			Failure: &junitFailure{Message: plural(n, "gate") + are, Type: gateNotMet, Text: strings.Join(gates, "\n")}})
		suite.Failures++
	}
	suite.Tests = len(suite.Cases)
	suite.Out = strings.Join(append(r.headline(), plain(o.OldName)+" → "+plain(o.NewName), "tolerances: "+r.Tolerances.stated(), r.summary()), "\n")
	out, err := xml.MarshalIndent(junitSuites{Tests: suite.Tests, Failures: suite.Failures, Suite: suite}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(append([]byte(xml.Header), out...), '\n'), nil
}

// gateNotMet names gates that are not met, where findings have a kind.
const gateNotMet = "gate-not-met"

type sarifText struct {
	Text string `json:"text"`
}

type sarifLevel struct {
	Level string `json:"level"`
}

type sarifRule struct {
	ID            string     `json:"id"`
	Short         sarifText  `json:"shortDescription"`
	Configuration sarifLevel `json:"defaultConfiguration"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Rules   []sarifRule `json:"rules"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifURI struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifPhysical struct {
	Artifact sarifURI    `json:"artifactLocation"`
	Region   sarifRegion `json:"region"`
}

type sarifLogical struct {
	FullName string `json:"fullyQualifiedName"`
}

type sarifLocation struct {
	Physical sarifPhysical  `json:"physicalLocation"`
	Logical  []sarifLogical `json:"logicalLocations"`
}

type sarifResult struct {
	RuleID    string          `json:"ruleId"`
	RuleIndex int             `json:"ruleIndex"`
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations"`
}

type sarifProperties struct {
	Tolerances Tolerances `json:"tolerances"`
}

type sarifRun struct {
	Tool       sarifTool       `json:"tool"`
	ColumnKind string          `json:"columnKind"`
	Results    []sarifResult   `json:"results"`
	Properties sarifProperties `json:"properties"`
}

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

// sarif is a log of the Static Analysis Results Interchange Format, OASIS standard 2.1.0: a rule per kind, a result per finding, at the
// first line of the new report, since a path has no line.
func (o Options) sarif(r *Result) ([]byte, error) {
	driver := sarifDriver{Name: "fp8rewrite diff", Version: o.Version}
	index := map[Kind]int{}
	for i, k := range Kinds() {
		index[k.Kind] = i
		driver.Rules = append(driver.Rules, sarifRule{string(k.Kind), sarifText{k.Sentence}, sarifLevel{string(k.Severity)}})
	}
	run := sarifRun{Tool: sarifTool{driver}, ColumnKind: "unicodeCodePoints", Results: []sarifResult{}, Properties: sarifProperties{r.Tolerances}}
	artifact := o.Artifact
	if artifact == "" {
		artifact = o.NewName
	}
	file := sarifURI{reference(artifact)}
	if len(o.UnmetGates) > 0 {
		rule := len(driver.Rules)
		driver.Rules = append(driver.Rules, sarifRule{gateNotMet, sarifText{"a gate is not met"}, sarifLevel{string(Error)}})
		run.Tool.Driver = driver
		for _, g := range o.UnmetGates {
			message := strings.NewReplacer("{", "{{", "}", "}}", "](", "] (").Replace("gate not met: " + plain(g))
			run.Results = append(run.Results, sarifResult{gateNotMet, rule, string(Error), sarifText{message},
				[]sarifLocation{{sarifPhysical{file, sarifRegion{1}}, []sarifLogical{{"verification"}}}}})
		}
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		path := cut(f.Path, maxPath)
		// Braces in a message would be a placeholder, brackets before parentheses a link.
		message := strings.NewReplacer("{", "{{", "}", "}}", "](", "] (").Replace(path + ": " + driver.Rules[index[f.Kind]].Short.Text + ": " + f.values())
		run.Results = append(run.Results, sarifResult{string(f.Kind), index[f.Kind], string(f.Severity), sarifText{message},
			[]sarifLocation{{sarifPhysical{file, sarifRegion{1}}, []sarifLogical{{path}}}}})
	}
	return indented(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

// reference is a file's name as a relative reference in a URI.
func reference(name string) string {
	parts := strings.Split(filepath.ToSlash(cut(name, 4*maxPath)), "/")
	for i, p := range parts {
		parts[i] = strings.ReplaceAll(url.PathEscape(p), ":", "%3A") // a colon would end a scheme
	}
	return strings.Join(parts, "/")
}
