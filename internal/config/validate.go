package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/steward-bus/steward/internal/follow"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/subject"
)

// validate finds every setting that cannot work, and says what would.
func (e *Effective) validate(methods []string) {
	e.validateNames()
	e.validateBroker()
	e.validateNumbers()
	e.validateAllow(methods)
	e.oneOf("log.level", e.Log.Level, "debug", "info", "warn", "error")
	e.oneOf("log.format", e.Log.Format, "auto", "text", "json")
	e.validatePassEnv()
	e.validateForward()
}

// unlike tells that the value of key breaks a rule of subjects.
func (e *Effective) unlike(key string, err error) {
	if err != nil {
		e.problem(key, "cannot be: %s", strings.TrimPrefix(err.Error(), subject.ErrInvalid.Error()+": "))
	}
}

func (e *Effective) validateNames() {
	e.unlike("node", subject.ValidateNode(e.Node))
	e.unlike("central", subject.ValidateNode(e.Central))
	e.unlike("prefix", subject.Subject{Prefix: e.Prefix, Node: "a", Kind: subject.CommandACK, Method: "Ping"}.Validate())
}

func (e *Effective) validateBroker() {
	if e.Listen != "" && len(e.Broker) > 0 {
		e.problem("listen", "is %q, and broker is set too (%s): a node embeds a broker or joins one, not both", e.Listen, e.Whence("broker"))
	}
	for i, b := range e.Broker {
		if err := checkBroker(b); err != nil {
			e.problem(fmt.Sprintf("broker[%d]", i), "is %s: %v", shown("broker", b), err)
		}
	}
	if e.Listen != "" {
		e.validateAddress("listen", e.Listen)
	}
	if e.Metrics != "" {
		e.validateAddress("metrics", e.Metrics)
	}
}

// BrokerHost is the host that a broker's URL names, and the port, if it names one.
func BrokerHost(broker string) (host, port string, err error) {
	if !strings.Contains(broker, "://") {
		broker = "nats://" + broker // as the client understands it
	}
	u, err := url.Parse(broker)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
		return "", "", errors.New("want a URL such as nats://central.example:4222, or tls://, ws://, wss://") // not the parser's error, which shows a password
	}
	return u.Hostname(), u.Port(), nil
}

func checkBroker(broker string) error {
	_, port, err := BrokerHost(broker)
	if err != nil || port == "" {
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return errors.New("the port is a number from 1 to 65535")
	}
	return nil
}

// validateAddress wants host:port, and loopback unless the operator knows better.
func (e *Effective) validateAddress(key, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		e.problem(key, "is %q: want HOST:PORT, such as 127.0.0.1:4222", addr)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		e.problem(key, "is %q: the port is a number from 0 to 65535", addr)
	}
	if ip := net.ParseIP(host); !e.Insecure && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		e.problem(key, "is %q, which others can reach, and there is no authentication: use a loopback address, or --insecure if the network keeps others out", addr)
	}
}

func (e *Effective) validateNumbers() {
	for _, l := range e.leaves() {
		negative := false
		switch x := l.value.Interface().(type) {
		case int:
			negative = x < 0
		case Duration:
			negative = x < 0
		}
		if negative {
			e.problem(l.key, "is %v: want 0 or more", l.value.Interface())
		}
	}
}

func (e *Effective) validateAllow(methods []string) {
	for _, m := range slices.Sorted(maps.Keys(e.Allow)) {
		key := "allow." + m
		switch {
		case m == message.MethodResult:
			e.problem(key, "cannot be: results are the road's own, and taken from whoever was asked")
		case methods != nil && !slices.Contains(methods, m):
			e.problem(key, "names no method of this node%s", cmp.Or(didYouMean(m, methods), ": it has "+strings.Join(methods, ", ")))
		default:
			e.unlike(key, subject.ValidateMethod(m))
		}
		for i, name := range e.Allow[m] {
			if name != "*" {
				e.unlike(fmt.Sprintf("%s[%d]", key, i), subject.ValidateNode(name))
			}
		}
	}
}

func (e *Effective) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		e.problem(key, "is %q: want one of %s%s", value, strings.Join(allowed, ", "), didYouMean(value, allowed))
	}
}

// passPattern is what passEnv may hold.
var passPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*\*?$`)

func (e *Effective) validatePassEnv() {
	for i, name := range e.PassEnv {
		if !passPattern.MatchString(name) {
			e.problem(fmt.Sprintf("passEnv[%d]", i), "is %q: want the name of a variable, or the beginning of several and a *, such as APP_*", name)
		}
	}
}

func (e *Effective) validateForward() {
	for i, f := range e.Forward {
		if err := follow.Source(f).Validate(); err != nil {
			e.problem(fmt.Sprintf("forward[%d]", i), "cannot be: %s", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "forward: "), "forward "))
		}
	}
}
