// Package report is what the tool says about a job: plain structs, and the one JSON form that a continuous-integration job can
// compare byte by byte.
//
// It knows the schema: its fields and the class of each (exact, tolerant or volatile), the closed lists of codes for rules,
// reasons, changes and warnings, and the canonical encoding. It refuses to know how a decision was made, how a number was measured
// or how a report looks on a screen. It joins the reports of several jobs on one model, by the digests in them. Before it come the stages
// that fill it in (rewrite, and the commands); after it come render and page, which show a report, and diff, which compares two. It imports nothing from this module, so names, element types and recipes
// arrive here as text. docs/REPORT.md is the schema for readers.
package report
