package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fp8rewrite/fp8rewrite/policy"
)

// checkSettings are flags of check that take the place of keys in the policy's sections. They are the flags of the jobs' commands.
type checkSettings struct {
	flags []settingFlag
}

// settingFlag is a flag with the sections whose key it is.
type settingFlag struct {
	flag     *pflag.Flag
	sections []string
}

// ofEachJob are keys of calibrate and verify that may mean something else in each: a flag would not say which.
func ofEachJob() []string {
	return []string{"prefix", "input", "whole", "batch-size", "steps", "allow-nonfinite", "labels", "logits"}
}

// addFlags takes the flags from the commands, so that they mean the same.
func (s *checkSettings) addFlags(cmd *cobra.Command) {
	commands := map[string]*cobra.Command{policy.Convert: newConvert(), policy.Calibrate: newCalibrate(), policy.Verify: newVerify()}
	for _, field := range policy.Fields() {
		job, ok := commands[field.Section]
		if !ok || slices.Contains(ofEachJob(), field.Key) {
			continue
		}
		at := slices.IndexFunc(s.flags, func(f settingFlag) bool { return f.flag.Name == field.Key })
		if at >= 0 {
			s.flags[at].sections = append(s.flags[at].sections, field.Section)
			continue
		}
		flag := job.Flags().Lookup(field.Key)
		if flag == nil {
			panic("check: the policy's key " + field.Key + " is no flag") // which a test rules out
		}
		flag.Usage = "in place of the policy's: " + flag.Usage
		cmd.Flags().AddFlag(flag) // with its completion, which belongs to the flag
		s.flags = append(s.flags, settingFlag{flag, []string{field.Section}})
	}
}

// into puts the flags that were given into the policy.
func (s *checkSettings) into(cmd *cobra.Command, p *policy.Policy) error {
	for _, f := range s.flags {
		if !f.flag.Changed {
			continue
		}
		values := []string{f.flag.Value.String()}
		if list, ok := f.flag.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		there := false
		for _, section := range f.sections {
			there = p.Set(section, policy.Setting{Key: f.flag.Name, Values: values}) || there
		}
		if !there {
			return hint(usagef("%s: --%s is for %s, and the policy has no section %s", cmd.Name(), f.flag.Name, f.sections[0], f.sections[0]), "%s: in the policy", f.sections[0])
		}
	}
	return nil
}
