// Package render shows a report to people. It takes a finished report and computes nothing that the report does not say: it picks,
// formats, cuts and colors.
//
// It knows terminals: widths, colors, and the characters that must not reach one; and what GitHub's Markdown would take for markup. It
// gives its parts to other forms as Sections. It refuses to know where a report came from, whether its output is a terminal and what the
// environment says; the command passes these in as Options. Before it comes report, after it the screen, or page.
package render
