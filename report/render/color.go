package render

// Color reports whether output should be colored: it goes to a terminal, that terminal can, and NO_COLOR is not set to anything
// (https://no-color.org). getenv is os.Getenv.
func Color(terminal bool, getenv func(string) string) bool {
	return terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// paint is an ANSI color or weight.
type paint string

const (
	bold   paint = "1"
	green  paint = "32"
	yellow paint = "33"
	dim    paint = "2"
)

func (o Options) paint(p paint, s string) string {
	if o.marked != nil && p == bold {
		return heading + s
	}
	if !o.Color || s == "" || p == "" {
		return s
	}
	return "\x1b[" + string(p) + "m" + s + "\x1b[0m"
}
