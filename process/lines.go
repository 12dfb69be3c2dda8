package process

import (
	"strings"

	"github.com/steward-bus/steward/message"
)

// lines is output as the data of an event: valid text, one string a line.
func lines(out message.Text) []string {
	s := strings.ToValidUTF8(strings.ReplaceAll(strings.TrimSuffix(string(out), "\n"), "\x00", "\u2400"), "\ufffd")
	list := strings.Split(s, "\n")
	if len(list) > message.MaxData {
		rest := strings.Join(list[message.MaxData-1:], "\n")
		list = append(list[:message.MaxData-1], rest)
	}
	return list
}
