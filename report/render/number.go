package render

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fp8rewrite/fp8rewrite/report"
)

// none stands where the report knows nothing.
const none = "-"

const arrow = " → "

// Size is a number of bytes as the tables have it.
func Size(n int64) string { return size(n) }

// size writes a number of bytes with at most four digits: 512 B, 72.0 KiB, 1.50 GiB.
func size(n int64) string {
	if n < 1024 && n > -1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		// 999.95 would print as 1000.0: then the next unit reads better.
		if v /= 1024; v < 999.95 && v > -999.95 {
			break
		}
	}
	digits := 2
	if v >= 9.995 || v <= -9.995 {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + unit
}

// count writes an integer with a comma between thousands: 1,204,224.
func count(n int64) string {
	digits, sign := strconv.FormatInt(n, 10), ""
	if n < 0 {
		digits, sign = digits[1:], "-"
	}
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// short writes a large count with three digits: 512, 66.0 k, 1.32 M.
func short(n int64) string {
	if n < 1000 {
		return count(n)
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"k", "M", "G", "T", "P", "E"} {
		if v /= 1000; v < 999.5 {
			break
		}
	}
	digits := 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + unit
}

func number(f report.Float32) string { return strconv.FormatFloat(float64(f), 'g', 4, 32) }

func amax(l *report.Layer) string {
	if l.Amax == nil {
		return none
	}
	return number(*l.Amax)
}

// scale writes one multiplier, or the range of several with their number.
func scale(q *report.QuantScale) string {
	switch {
	case q == nil:
		return none
	case q.Granularity != report.PerChannel && q.Count <= 1:
		return number(q.Min)
	}
	return fmt.Sprintf("%s…%s ×%d", number(q.Min), number(q.Max), q.Count)
}

func sqnr(l *report.Layer) string {
	switch {
	case l.WeightExact:
		return "exact"
	case l.WeightSQNRdB == nil:
		return none
	}
	return strconv.FormatFloat(float64(*l.WeightSQNRdB), 'f', 2, 64)
}

func shape(dims []int64) string {
	if len(dims) == 0 {
		return none
	}
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = strconv.FormatInt(d, 10)
	}
	return cut(strings.Join(parts, "×"), 24)
}

// change writes what became of a value, or the value alone if nothing did.
func change(before, after string) string {
	switch {
	case before == "" && after == "":
		return none
	case before == after || after == "":
		return before
	case before == "":
		return after
	}
	return before + arrow + after
}
