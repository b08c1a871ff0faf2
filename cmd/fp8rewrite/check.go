package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fp8rewrite/fp8rewrite/internal/atomicfile"
	"github.com/fp8rewrite/fp8rewrite/policy"
	reports "github.com/fp8rewrite/fp8rewrite/report"
	"github.com/fp8rewrite/fp8rewrite/report/diff"
)

// policyFile is the name under which check looks for a policy.
const policyFile = "fp8rewrite.yaml"

// checkOptions are the flags of check.
type checkOptions struct {
	diffOptions
	model, data, baseline, output, device string // in place of the policy's
	report                                string
	update, quiet                         bool
	settings                              checkSettings
}

func newCheck() *cobra.Command {
	o := &checkOptions{}
	cmd := &cobra.Command{
		Use:   "check [POLICY.yaml]",
		Short: "Convert, calibrate and verify as a policy says, and compare with its baseline",
		Long: `check does in one go what a pipeline needs: it converts the policy's model, calibrates and verifies it where the policy has these
sections, joins the reports and compares them with the baseline, the report that the project keeps. A gate that is not met and a difference
that the policy fails on give exit status 3. --update makes this run's report the baseline; --report keeps it beside.

The policy is ` + policyFile + ` unless another is named. Its paths are relative to it; flags take the place of what it says: those of
convert, of diff, the gates of verify, and others that mean one thing in all jobs.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 a gate is not met or the reports differ, 130 interrupted.`,
		Example: `  fp8rewrite check --update
  fp8rewrite check
  fp8rewrite check fp8rewrite.yaml --format markdown --report report.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return hint(usagef("check: got %d arguments, want at most one: the policy", len(args)), "%s", usageLine(cmd))
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name := policyFile
			if len(args) == 1 {
				name = args[0]
			}
			return o.run(cmd, name)
		},
	}
	f := cmd.Flags()
	o.addFlags(cmd)
	o.settings.addFlags(cmd)
	f.StringVar(&o.model, "model", "", "the trained model, in place of the policy's")
	f.StringVar(&o.data, "data", "", "batches, in place of the policy's")
	f.StringVar(&o.baseline, "baseline", "", "report to compare with, in place of the policy's")
	f.StringVar(&o.device, "device", "", "engine, in place of the policy's")
	f.StringVarP(&o.output, "output", "o", "", "file for the model that comes out, in place of the policy's")
	f.StringVar(&o.report, "report", "", "file to write this run's report to")
	f.BoolVar(&o.update, "update", false, "write this run's report as the baseline, and compare nothing")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	completeFiles(cmd, "model", "onnx")
	completeFiles(cmd, "data", dataExtensions...)
	completeWords(cmd, "device", deviceWords...)
	completeFiles(cmd, "output", "onnx")
	completeFiles(cmd, "baseline", "json")
	completeFiles(cmd, "report", "json")
	return cmd
}

// run reads the policy, does the jobs, and compares.
func (o *checkOptions) run(cmd *cobra.Command, name string) error {
	p, err := readPolicy(name)
	if err != nil {
		return err
	}
	if err := o.override(cmd, p, name); err != nil {
		return err
	}
	compare, err := o.comparison()
	if err != nil {
		return err
	}
	if err := o.refuseTargets(p, name); err != nil {
		return err
	}
	var was *reports.Report
	if !o.update {
		if was, err = readReport(p.Baseline); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return hint(fmt.Errorf("the baseline %q is not there", p.Baseline), "fp8rewrite check %s --update", shellWord(name))
			}
			return err
		}
	}
	dir, err := os.MkdirTemp("", "fp8rewrite-check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	is, err := runJobs(cmd.Context(), cmd.ErrOrStderr(), p, dir)
	if is != nil && is.Volatile.Fallback != "" && !o.quiet {
		(&engine{fallback: is.Volatile.Fallback}).tell(cmd.ErrOrStderr(), &deviceOptions{})
	}
	var unmet gateError
	if err != nil && !(errors.As(err, &unmet) && is != nil) {
		return err
	}
	var encoded bytes.Buffer
	if err := reports.Encode(&encoded, is); err != nil {
		return err
	}
	if o.report != "" {
		if err := atomicfile.WriteFile(o.report, encoded.Bytes()); err != nil {
			return err
		}
	}
	if o.update {
		if err != nil { // a baseline is something to go back to
			return fmt.Errorf("the baseline stays as it was: %w", err)
		}
		if err := atomicfile.WriteFile(p.Baseline, encoded.Bytes()); err != nil {
			return err
		}
		if !o.quiet {
			fmt.Fprintf(cmd.OutOrStdout(), "%s is the baseline now\n", oneLine(p.Baseline))
		}
		return nil
	}
	say := diff.Options{OldName: p.Baseline, NewName: o.report, Artifact: o.report, UnmetGates: unmet.failures}
	if o.report == "" { // what is there to point at is the baseline
		say.NewName, say.Artifact = "this run", p.Baseline
	}
	stdout := cmd.OutOrStdout()
	if o.quiet {
		stdout = io.Discard
	}
	drift := compare.write(stdout, was, is, say)
	switch {
	case err == nil:
		return drift
	case drift == nil:
		return err
	}
	return errors.Join(err, drift)
}

// override puts the flags' values into the policy, and makes its paths those of files.
func (o *checkOptions) override(cmd *cobra.Command, p *policy.Policy, name string) error {
	for _, x := range []struct {
		value *string
		flag  string
		given string
		path  bool
	}{
		{&p.Model, "model", o.model, true}, {&p.Data, "data", o.data, true}, {&p.Baseline, "baseline", o.baseline, true},
		{&p.Output, "output", o.output, true}, {&p.Device, "device", o.device, false},
	} {
		switch {
		case cmd.Flags().Changed(x.flag):
			*x.value = x.given
		case x.path && *x.value != "" && !filepath.IsAbs(*x.value):
			*x.value = filepath.Join(filepath.Dir(name), filepath.FromSlash(*x.value))
		}
	}
	if err := o.settings.into(cmd, p); err != nil {
		return err
	}
	settings, _ := p.Section(policy.Diff)
	for _, s := range settings {
		if cmd.Flags().Changed(s.Key) {
			continue
		}
		switch s.Key {
		case "fail-on":
			o.failOn = s.Values
		case "rel-tol":
			o.relTol = s.Values
		case "abs-tol":
			o.absTol = s.Values
		}
	}
	return o.checkFormat(cmd)
}

// readPolicy reads a policy file; its errors name the nearest key.
func readPolicy(name string) (*policy.Policy, error) {
	f, err := os.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && name == policyFile {
			return nil, hint(usagef("check: there is no %s here", policyFile), "fp8rewrite check POLICY.yaml")
		}
		return nil, err
	}
	defer f.Close()
	p, err := policy.Read(f)
	if err == nil {
		return p, nil
	}
	var wrong *policy.Error
	if errors.As(err, &wrong) && wrong.Unknown != "" {
		if near := nearest(wrong.Unknown, wrong.Known, ""); near != "" {
			return nil, hint(fmt.Errorf("%s: %w", name, err), "%s", near)
		}
		return nil, hint(fmt.Errorf("%s: %w", name, err), "the keys are %s", strings.Join(wrong.Known, ", "))
	}
	return nil, fmt.Errorf("%s: %w", name, err)
}

// runJobs converts, calibrates and verifies in dir, and joins the reports. A gate that is not met is an error beside the report.
func runJobs(ctx context.Context, stderr io.Writer, p *policy.Policy, dir string) (*reports.Report, error) {
	base := strings.TrimSuffix(filepath.Base(p.Model), filepath.Ext(p.Model))
	model := filepath.Join(dir, base+".fp8.onnx")
	_, calibrated := p.Section(policy.Calibrate)
	if p.Output != "" && !calibrated {
		model = p.Output
	}
	var parts []reports.Part
	job := func(kind string, cmd *cobra.Command, args ...string) error {
		settings, _ := p.Section(kind)
		file := filepath.Join(dir, kind+".json")
		args = append(args, "--report", file, "--quiet")
		if kind != policy.Convert && p.Device != "" {
			args = append(args, "--device="+p.Device)
		}
		for _, s := range settings {
			for _, v := range s.Values {
				args = append(args, "--"+s.Key+"="+v)
			}
		}
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(stderr)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetFlagErrorFunc(wrongFlag)
		err := cmd.ExecuteContext(ctx)
		if err != nil && !errors.As(err, new(gateError)) {
			return err
		}
		r, read := readReport(file)
		if read != nil {
			return errors.Join(err, read)
		}
		parts = append(parts, reports.Part{Name: kind, Report: r})
		return err
	}
	if err := job(policy.Convert, newConvert(), p.Model, "-o", model); err != nil {
		return nil, err
	}
	if calibrated {
		out := filepath.Join(dir, base+".calibrated.onnx")
		if p.Output != "" {
			out = p.Output
		}
		if err := job(policy.Calibrate, newCalibrate(), model, "-o", out, "--data", p.Data, "--checkpoint-every", "0"); err != nil {
			return nil, err
		}
		model = out
	}
	var unmet error
	if _, ok := p.Section(policy.Verify); ok {
		if unmet = job(policy.Verify, newVerify(), p.Model, model, "--data", p.Data); unmet != nil && !errors.As(unmet, new(gateError)) {
			return nil, unmet
		}
	}
	if len(parts) == 1 {
		return parts[0].Report, unmet
	}
	merged, err := reports.Merge(parts)
	if err != nil {
		return nil, err
	}
	merged.Volatile = parts[0].Report.Volatile
	fillDevices(&merged.Volatile, parts)
	for _, part := range parts[1:] {
		merged.Volatile.DurationSeconds += part.Report.Volatile.DurationSeconds
	}
	merged.Finish()
	return merged, unmet
}
