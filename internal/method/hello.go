package method

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/steward-bus/steward/ack"
	"github.com/steward-bus/steward/message"
	"github.com/steward-bus/steward/process"
	"github.com/steward-bus/steward/subject"
)

// Hello is how a node presents itself. StoreID and Epoch identify its journal;
// both are empty in a hello that an operator wrote, which tells of presence only.
// Leaving makes it a goodbye: this life of the node takes nothing more.
type Hello struct {
	Version   string    `json:"version"`
	OS        string    `json:"os"`
	Arch      string    `json:"arch"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	Methods   []string  `json:"methods,omitempty"`
	StoreID   string    `json:"storeId,omitempty"` // a UUID
	Epoch     string    `json:"epoch,omitempty"`   // a UUID
	Leaving   bool      `json:"leaving,omitempty"`
}

const (
	maxHelloText    = 128
	MaxHelloMethods = 256
)

// Data is h as the data of a SayHello.
func (h Hello) Data() []string {
	b, err := json.Marshal(h)
	if err != nil {
		panic(err) // strings and a time: only a year beyond 9999 gets here
	}
	return []string{string(b)}
}

// DecodeHello reads what Data wrote: one JSON object whose known fields have
// their type and are within bounds. Fields that it does not know are ignored.
func DecodeHello(data []string) (Hello, error) {
	if len(data) != 1 {
		return Hello{}, fmt.Errorf("hello: data has %d strings: want one JSON object", len(data))
	}
	var h Hello
	fields := map[string]any{
		"version": &h.Version, "os": &h.OS, "arch": &h.Arch, "startedAt": &h.StartedAt,
		"methods": &h.Methods, "storeId": &h.StoreID, "epoch": &h.Epoch, "leaving": &h.Leaving,
	}
	if err := decodeFields([]byte(data[0]), fields); err != nil {
		return Hello{}, fmt.Errorf("hello: %w", err)
	}
	if err := h.validate(); err != nil {
		return Hello{}, fmt.Errorf("hello: %w", err)
	}
	return h, nil
}

func (h Hello) validate() error {
	for _, f := range []struct{ name, value string }{{"version", h.Version}, {"os", h.OS}, {"arch", h.Arch}} {
		if f.value == "" || len(f.value) > maxHelloText {
			return fmt.Errorf("%s has %d bytes: want 1 to %d", f.name, len(f.value), maxHelloText)
		}
	}
	if len(h.Methods) > MaxHelloMethods {
		return fmt.Errorf("methods has %d names: want at most %d", len(h.Methods), MaxHelloMethods)
	}
	for _, m := range h.Methods {
		if err := subject.ValidateMethod(m); err != nil {
			return err
		}
	}
	if h.StoreID == "" && h.Epoch == "" {
		if h.Leaving {
			return errors.New("leaving is true: only a hello with storeId and epoch says which life of the node ends")
		}
		return nil
	}
	for _, f := range []struct{ name, value string }{{"storeId", h.StoreID}, {"epoch", h.Epoch}} {
		if id, err := uuid.Parse(f.value); err != nil || id == uuid.Nil {
			return fmt.Errorf("%s is %.40q: want a UUID, or neither storeId nor epoch", f.name, f.value)
		}
	}
	return nil
}

// decodeFields reads one JSON object into the targets that are named exactly
// like its keys, each at most once. encoding/json alone would also take another
// case, a repeated key and a null.
func decodeFields(b []byte, targets map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("want one JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string) // an object has no other keys
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("%.40q: %w", key, err)
		}
		target, known := targets[key]
		if !known {
			continue
		}
		if seen[key] || string(value) == "null" {
			return fmt.Errorf("%q is null or stands twice", key)
		}
		seen[key] = true
		if err := json.Unmarshal(value, target); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text follows the object")
	}
	return nil
}

// sayHello tells the host of each node that presents itself.
func sayHello(h *Host) process.Method {
	return process.Method{
		Name:       message.MethodSayHello,
		Kinds:      []subject.Kind{subject.EventNACK, subject.EventACK},
		Repeatable: true,
		Check: func(m *message.Message) error {
			_, err := DecodeHello(m.Data)
			return err
		},
		Handler: process.HandlerFunc(func(_ context.Context, m *message.Message) message.Result {
			now := time.Now()
			if h.Hello != nil {
				h.Hello(m)
			}
			return message.Result{Outcome: ack.Done, StartedAt: now, EndedAt: time.Now()}
		}),
	}
}
