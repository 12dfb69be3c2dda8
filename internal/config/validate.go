package config

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/steward-bus/steward/internal/follow"
	"github.com/steward-bus/steward/subject"
)

// Validate reports the first setting that cannot work, and what would.
func (c Config) Validate() error {
	for _, check := range []func() error{c.validateNames, c.validateBroker, c.validateNumbers, c.validateAllow, c.validateLog, c.validateForward} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return nil
}

func (c Config) validateNames() error {
	if err := subject.ValidateNode(c.Node); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if err := subject.ValidateNode(c.Central); err != nil {
		return fmt.Errorf("central: %w", err)
	}
	s := subject.Subject{Prefix: cmp.Or(c.Prefix, subject.Prefix), Node: c.Node, Kind: subject.CommandACK, Method: "Ping"}
	if err := s.Validate(); err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	return nil
}

func (c Config) validateBroker() error {
	if c.Listen != "" && len(c.Broker) > 0 {
		return fmt.Errorf("listen (%s) and broker (%s): a node embeds a broker or joins one, not both", c.Listen, strings.Join(c.Broker, ","))
	}
	for _, b := range c.Broker {
		full := b
		if !strings.Contains(b, "://") {
			full = "nats://" + b // as the client understands it
		}
		u, err := url.Parse(full)
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return fmt.Errorf("broker is %q: want a URL such as nats://central.example:4222, or tls://, ws://, wss://", b)
		}
	}
	if c.Listen != "" {
		if err := c.validateAddress("listen", c.Listen); err != nil {
			return err
		}
	}
	if c.Metrics != "" {
		return c.validateAddress("metrics", c.Metrics)
	}
	return nil
}

// validateAddress wants host:port, and loopback unless the operator knows better.
func (c Config) validateAddress(field, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s is %q: want HOST:PORT, such as 127.0.0.1:4222", field, addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%s is %q: the port is a number from 0 to 65535", field, addr)
	}
	if ip := net.ParseIP(host); !c.Insecure && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s is %q, which others can reach, and there is no authentication: use a loopback address, or --insecure if the network keeps others out", field, addr)
	}
	return nil
}

func (c Config) validateNumbers() error {
	for _, x := range []struct {
		field string
		d     Duration
	}{{"ackTimeout", c.AckTimeout}, {"idle", c.Idle}, {"grace", c.Grace}, {"history.age", c.History.Age}} {
		if x.d < 0 {
			return fmt.Errorf("%s is %s: want 0 or more", x.field, time.Duration(x.d))
		}
	}
	for _, x := range []struct {
		field string
		n     int
	}{{"retries", c.Retries}, {"inboxLimit", c.InboxLimit}, {"history.count", c.History.Count}} {
		if x.n < 0 {
			return fmt.Errorf("%s is %d: want 0 or more", x.field, x.n)
		}
	}
	return nil
}

func (c Config) validateAllow() error {
	for _, method := range slices.Sorted(maps.Keys(c.Allow)) {
		if err := subject.ValidateMethod(method); err != nil {
			return fmt.Errorf("allow: %w", err)
		}
		for _, name := range c.Allow[method] {
			if err := subject.ValidateNode(name); err != nil && name != "*" {
				return fmt.Errorf("allow: %s: %w", method, err)
			}
		}
	}
	return nil
}

func (c Config) validateLog() error {
	if !slices.Contains([]string{"", "auto", "text", "json"}, c.Log.Format) {
		return fmt.Errorf("log.format is %q: want auto, text or json", c.Log.Format)
	}
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, c.Log.Level) {
		return fmt.Errorf("log.level is %q: want debug, info, warn or error", c.Log.Level)
	}
	return nil
}

func (c Config) validateForward() error {
	for _, f := range c.Forward {
		if err := follow.Source(f).Validate(); err != nil {
			return err
		}
	}
	return nil
}
