package main

import (
	"testing"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/policy"
)

// A key of a policy is the flag of its command, of the same type, and none that check gives itself.
func TestThePolicysKeysAreFlags(t *testing.T) {
	types := map[policy.Type][]string{
		policy.Text: {"string"}, policy.Whole: {"int", "int64"}, policy.Number: {"float64"}, policy.Switch: {"bool"}, policy.Texts: {"stringArray", "stringSlice"},
		policy.Tolerances: {"stringSlice"},
	}
	for section, cmd := range map[string]*cobra.Command{policy.Convert: newConvert(), policy.Calibrate: newCalibrate(), policy.Verify: newVerify(), policy.Diff: newDiff()} {
		for _, f := range policy.Fields() {
			if f.Section != section {
				continue
			}
			flag := cmd.Flags().Lookup(f.Key)
			if flag == nil {
				t.Errorf("%s.%s is no flag", section, f.Key)
				continue
			}
			ok := false
			for _, want := range types[f.Type] {
				ok = ok || flag.Value.Type() == want
			}
			if !ok {
				t.Errorf("%s.%s is %s, and the flag's type %s", section, f.Key, f.Type, flag.Value.Type())
			}
			switch f.Key {
			case "output", "report", "json", "quiet", "data", "device", "checkpoint-every":
				t.Errorf("%s.%s is what check gives", section, f.Key)
			}
		}
	}
}
