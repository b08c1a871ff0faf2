package conformance

// exception is a test with a tolerance of its own.
type exception struct {
	tolerance
	reason string
}

// tolerances are the tests that the suite's tolerance does not suit.
var tolerances = map[string]exception{}

// skip is a group of tests that the engine does not pass.
type skip struct {
	reason string
	tests  []string
}

// skips are the tests that are not expected to pass, by reason. A test in the list that passes is an error, so that the list stays true.
var skips = []skip{}
