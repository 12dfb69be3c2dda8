package transport_test

import (
	"testing"

	"github.com/steward-bus/steward/internal/transport"
)

func TestRedacted(t *testing.T) {
	for url, want := range map[string]string{
		"nats://127.0.0.1:4222":               "nats://127.0.0.1:4222",
		"nats://user:s3cret@127.0.0.1:4222":   "nats://xxxxx@127.0.0.1:4222",
		"tls://t0ken@broker.example:4222":     "tls://xxxxx@broker.example:4222",
		"user:with@sign@broker.example":       "xxxxx@broker.example",
		"nats://user:p%40ss/w@broker.example": "nats://xxxxx@broker.example",
	} {
		if got := transport.Redacted(url); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}
