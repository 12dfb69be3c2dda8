// Package config reads what a node is to be: a YAML file, STEWARD_* variables
// and flags, each over the one before. It finds all that is wrong with them, and
// knows of each value where it came from.
package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrInvalid is wrapped by every error about what a configuration says.
var ErrInvalid = errors.New("invalid configuration")

// Config is all that can be configured. A tag holds the default, where that does
// not depend on something else.
type Config struct {
	Node     string   `yaml:"node"`
	Data     string   `yaml:"data"`
	Listen   string   `yaml:"listen"`
	Broker   []string `yaml:"broker"`
	Central  string   `yaml:"central" default:"central"`
	InMsg    string   `yaml:"inmsg"`
	Prefix   string   `yaml:"prefix" default:"steward"`
	Metrics  string   `yaml:"metrics"`
	Insecure bool     `yaml:"insecure"`

	AckTimeout Duration `yaml:"ackTimeout" default:"5s"`
	Retries    int      `yaml:"retries"`
	Idle       Duration `yaml:"idle" default:"1m"`
	Grace      Duration `yaml:"grace" default:"10s"`
	InboxLimit int      `yaml:"inboxLimit" default:"100000"`

	History struct {
		Age   Duration `yaml:"age" default:"30d"`
		Count int      `yaml:"count" default:"1000000"`
	} `yaml:"history"`
	Log struct {
		Level  string `yaml:"level" default:"info"`
		Format string `yaml:"format" default:"auto"`
	} `yaml:"log"`

	// PassEnv names variables that commands get of the node's environment, beside
	// the usual ones: NAME, or PREFIX_*.
	PassEnv []string `yaml:"passEnv"`

	// Allow says who may ask for a method: method -> node names, or "*". A method
	// without an entry is everybody's.
	Allow   map[string][]string `yaml:"allow"`
	Forward []Forward           `yaml:"forward"`
}

// Forward is a log to send on: the files that match Path, or a journald unit.
type Forward struct {
	Path      string            `yaml:"path"`
	Journal   string            `yaml:"journal"`
	To        string            `yaml:"to"`
	Directory string            `yaml:"directory"`
	FileName  string            `yaml:"fileName"`
	Labels    map[string]string `yaml:"labels"`
	FromEnd   bool              `yaml:"fromEnd"`
}

// MaxBytes is the size of the largest configuration file.
const MaxBytes = 1 << 20

// Sources is where a configuration comes from, the weakest first.
type Sources struct {
	File    string   // YAML; none if empty
	Environ []string // NAME=value, of which STEWARD_* count
	Flags   []Flag   // that were given
	Methods []string // that the node has: allow may name no other; nil: not known
}

// Flag is a flag that was given for the setting Key.
type Flag struct{ Name, Key, Text string }

// Effective is what comes of Sources.
type Effective struct {
	Config
	Problems Problems // for which it cannot work
	Warnings Problems // that may be mistakes

	from map[string]string // setting -> where its value came from
}

// Load reads all sources, fills in what was left out, and checks the whole. What
// they say wrong is in Problems; an error is that of a file that cannot be read.
func Load(src Sources) (Effective, error) {
	e := Effective{from: map[string]string{}}
	if src.File != "" {
		b, err := read(src.File)
		if err != nil {
			return e, fmt.Errorf("configuration: %w", err)
		}
		e.parse(src.File, b)
	}
	e.layer(e.variables(src.Environ))
	e.layer(flags(src.Flags))
	e.complete()
	e.validate(src.Methods)
	return e, nil
}

func read(file string) (b []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, MaxBytes+1))
}

// given is the text that somebody gave for a setting.
type given struct{ key, text, from string }

func flags(list []Flag) (texts []given) {
	for _, f := range list {
		texts = append(texts, given{f.Key, f.Text, "--" + f.Name})
	}
	return texts
}

const variablePrefix = "STEWARD_"

// variables are those of environ that are settings. One that is none may be a
// mistake.
func (e *Effective) variables(environ []string) (texts []given) {
	keys := map[string]string{}
	for _, l := range e.leaves() {
		keys[Variable(l.key)] = l.key
	}
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, variablePrefix) || value == "" { // set to nothing is not set
			continue
		}
		if key, known := keys[name]; known {
			texts = append(texts, given{key, value, name})
		} else if !slices.Contains(otherVariables(), name) {
			e.warn(name, "", "no setting has this variable%s", didYouMean(name, slices.Sorted(maps.Keys(keys))))
		}
	}
	return texts
}

// otherVariables mean something to steward, and are no settings of a node.
func otherVariables() []string {
	return []string{"STEWARD_CONFIG", "STEWARD_MESSAGE_ID", "STEWARD_FROM_NODE", "STEWARD_FAILPOINT"}
}

// layer puts texts over what is there. One that says where the broker is replaces
// what the layers below say of it.
func (e *Effective) layer(texts []given) {
	has := func(key string) bool {
		return slices.ContainsFunc(texts, func(g given) bool { return g.key == key })
	}
	if has("listen") || has("broker") {
		e.Listen, e.Broker = "", nil
		e.forget("listen")
		e.forget("broker")
	}
	for _, g := range texts {
		for _, l := range e.leaves() {
			if l.key != g.key {
				continue
			}
			e.forget(g.key)
			e.from[g.key] = g.from
			if err := scan(l.value, g.text); err != nil {
				e.problem(g.key, "is %s: %v", shown(g.key, g.text), err)
			}
		}
	}
}

// forget where the value of key, or a part of it, came from.
func (e *Effective) forget(key string) {
	maps.DeleteFunc(e.from, func(k, _ string) bool { return k == key || strings.HasPrefix(k, key+"[") })
}

// complete fills in what was left out.
func (e *Effective) complete() {
	if e.Node == "" {
		host, err := os.Hostname()
		if e.Node, _, _ = strings.Cut(host, "."); err != nil || host == "" {
			e.problem("node", "is empty, and the host has no name: use --node NAME")
			return
		}
		e.from["node"] = "host name"
	}
	for _, l := range e.leaves() {
		if l.standard != "" && l.value.IsZero() {
			e.forget(l.key)
			if err := scan(l.value, l.standard); err != nil {
				e.problem(l.key, "has a default that cannot be: %v", err)
			}
		}
	}
	if e.Data == "" {
		e.Data = filepath.Join("data", e.Node)
	}
	if e.InMsg == "" {
		e.InMsg = filepath.Join(e.Data, "inmsg.txt")
	}
	if e.Listen == "" && len(e.Broker) == 0 {
		e.Listen = "127.0.0.1:4222"
	}
	for i := range e.Forward {
		if e.Forward[i].To == "" {
			e.Forward[i].To = e.Central
		}
	}
}
