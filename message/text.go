package message

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// Text is output of a program: usually text, but it may be anything. In JSON it
// is a string where it is valid UTF-8, else {"base64": "…"}.
type Text []byte

// IsZero reports whether t is empty.
func (t Text) IsZero() bool { return len(t) == 0 }

func (t Text) String() string { return string(t) }

// MarshalJSON writes a string or, for other bytes, {"base64": …}.
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.Valid(t) {
		return json.Marshal(string(t))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(t)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var v struct{ Base64 []byte }
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		*t = v.Base64
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*t = Text(s)
	return nil
}
