// Package config reads what a node is to be: a YAML file, STEWARD_* variables
// and flags, each over the one before.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/goccy/go-yaml"
)

// ErrInvalid is wrapped by every error about what a configuration says.
var ErrInvalid = errors.New("invalid configuration")

// Duration is written as "30s", "1h30m", "7d", or a number of seconds.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		*d = Duration(n * float64(time.Second))
		return nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil {
			*d = Duration(n * 24 * float64(time.Hour))
			return nil
		}
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is no duration: want seconds, or text such as 30s, 1h30m, 7d", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes a duration as UnmarshalText reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Config is all that can be configured.
type Config struct {
	Node     string   `yaml:"node,omitempty" env:"NODE"`
	Data     string   `yaml:"data,omitempty" env:"DATA"`
	Listen   string   `yaml:"listen,omitempty" env:"LISTEN"`
	Broker   []string `yaml:"broker,omitempty" env:"BROKER"`
	Central  string   `yaml:"central,omitempty" env:"CENTRAL"`
	InMsg    string   `yaml:"inmsg,omitempty" env:"INMSG"`
	Prefix   string   `yaml:"prefix,omitempty" env:"PREFIX"`
	Metrics  string   `yaml:"metrics,omitempty" env:"METRICS"`
	Insecure bool     `yaml:"insecure,omitempty" env:"INSECURE"`

	AckTimeout Duration `yaml:"ackTimeout,omitempty" env:"ACK_TIMEOUT"`
	Retries    int      `yaml:"retries,omitempty" env:"RETRIES"`
	Idle       Duration `yaml:"idle,omitempty" env:"IDLE"`
	Grace      Duration `yaml:"grace,omitempty" env:"GRACE"`
	InboxLimit int      `yaml:"inboxLimit,omitempty" env:"INBOX_LIMIT"`

	History struct {
		Age   Duration `yaml:"age,omitempty" env:"AGE"`
		Count int      `yaml:"count,omitempty" env:"COUNT"`
	} `yaml:"history,omitempty" envPrefix:"HISTORY_"`
	Log struct {
		Level  string `yaml:"level,omitempty" env:"LEVEL"`
		Format string `yaml:"format,omitempty" env:"FORMAT"`
	} `yaml:"log,omitempty" envPrefix:"LOG_"`

	// Allow says who may ask for a method: method -> node names, or "*". A method
	// without an entry is everybody's.
	Allow   map[string][]string `yaml:"allow,omitempty"`
	Forward []Forward           `yaml:"forward,omitempty"`
}

// Forward is a log to send on: the files that match Path, or a journald unit.
type Forward struct {
	Path      string            `yaml:"path,omitempty"`
	Journal   string            `yaml:"journal,omitempty"`
	To        string            `yaml:"to,omitempty"`
	Directory string            `yaml:"directory,omitempty"`
	FileName  string            `yaml:"fileName,omitempty"`
	Labels    map[string]string `yaml:"labels,omitempty"`
	FromEnd   bool              `yaml:"fromEnd,omitempty"`
}

// MaxBytes is the size of the largest configuration file.
const MaxBytes = 1 << 20

// Load reads file (none if empty), then the variables of environ, then lets
// flags speak, fills in what was left out, and checks the whole. Errors about
// the file name the line.
func Load(file string, environ []string, flags func(*Config)) (Config, error) {
	var c Config
	if file != "" {
		b, err := read(file)
		if err != nil {
			return c, fmt.Errorf("configuration: %w", err)
		}
		if c, err = Parse(b); err != nil {
			return c, fmt.Errorf("%s: %w", file, err)
		}
	}
	if err := c.environment(env.ToMap(environ)); err != nil {
		return c, err
	}
	if flags != nil {
		flags(&c)
	}
	return c.complete()
}

func read(file string) (b []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, MaxBytes+1))
}

// environment puts variables over the file, one by one so that an error names its own.
func (c *Config) environment(vars map[string]string) error {
	// One that says where the broker is replaces what the file says of it.
	if (vars["STEWARD_LISTEN"] == "") != (vars["STEWARD_BROKER"] == "") {
		c.Listen, c.Broker = "", nil
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		value := vars[name]
		if value == "" || !strings.HasPrefix(name, "STEWARD_") {
			continue // set to nothing is not set
		}
		err := env.ParseWithOptions(c, env.Options{Prefix: "STEWARD_", Environment: map[string]string{name: value}})
		if err != nil {
			return fmt.Errorf("%w: %s is %q: %s", ErrInvalid, name, value, wanted(err))
		}
	}
	return nil
}

// wanted is what a variable should have been.
func wanted(err error) string {
	wrong, ok := errors.AsType[env.ParseError](err)
	switch {
	case !ok:
		return err.Error()
	case wrong.Type.Kind() == reflect.Int:
		return "want a whole number"
	case wrong.Type.Kind() == reflect.Bool:
		return "want true or false"
	}
	return wrong.Err.Error()
}

// Parse reads a YAML document strictly: an unknown key or a key twice is an
// error that shows the place.
func Parse(b []byte) (c Config, err error) {
	if len(b) > MaxBytes {
		return c, fmt.Errorf("%w: larger than %d bytes", ErrInvalid, MaxBytes)
	}
	err = yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&c)
	if errors.Is(err, io.EOF) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("%w: %s", ErrInvalid, yaml.FormatError(err, false, true))
	}
	return c, nil
}

// complete fills in what was left out, and validates.
func (c Config) complete() (Config, error) {
	if c.Node == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("%w: node: the host has no name: use --node", ErrInvalid)
		}
		c.Node, _, _ = strings.Cut(host, ".")
	}
	if c.Data == "" {
		c.Data = filepath.Join("data", c.Node)
	}
	if c.Central == "" {
		c.Central = "central"
	}
	if c.Listen == "" && len(c.Broker) == 0 {
		c.Listen = "127.0.0.1:4222"
	}
	for i := range c.Forward {
		c.Forward[i].To = cmp.Or(c.Forward[i].To, c.Central)
	}
	return c, c.Validate()
}
