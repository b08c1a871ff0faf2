// Package page writes a report as one HTML page: a summary, the decisions, and plots with their tables.
//
// It knows HTML, what a screen of any size, a printer and a screen reader need, and which figures of a report make a plot. It refuses to
// know where the report came from, and to measure anything: it places the numbers that the report has. The page needs no network and no
// script, and its content security policy forbids both. Before it come report and render, whose tables and wording it uses; after it a
// browser.
package page
