package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/steward-bus/steward/message"
)

// duration is a flag that takes what a submission takes: seconds, or text such as
// 30s, 1h30m or 7d.
type duration time.Duration

var _ pflag.Value = (*duration)(nil)

// Set is pflag.Value's.
func (d *duration) Set(s string) error {
	v, err := message.ParseDuration(s)
	*d = duration(v)
	return err
}

// String is pflag.Value's; empty for what was not set.
func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type is pflag.Value's.
func (*duration) Type() string { return "duration" }

// durationVar makes a flag of d.
func durationVar(f *pflag.FlagSet, d *time.Duration, name, usage string) {
	f.Var((*duration)(d), name, usage)
}

// seconds gives a duration that is a bare number, as people type it, its unit.
func seconds(s string) string {
	if d, err := message.ParseDuration(s); err == nil && s != "" && (s[len(s)-1] >= '0' && s[len(s)-1] <= '9' || s[len(s)-1] == '.') {
		return d.String()
	}
	return s
}
