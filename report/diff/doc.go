// Package diff compares two reports and names each difference as what it is.
//
// It knows the classes of the schema's fields (exact, tolerant, volatile), which it reads from the tags of report's structs; how the
// entries of each list find their partners; the closed list of kinds of difference; and the forms in which a pipeline takes them:
// lines, Markdown, JSON, JUnit, SARIF and GitHub's annotations. It refuses to know where reports come from and what a difference
// means for the model: it reads two finished reports and runs nothing. Before it comes report, which decodes; after it the command
// that turns a difference into an exit status.
package diff
