package process

import "testing"

// FuzzAnswer: whatever comes as an answer is read, or is none; it never has more
// acks than were asked for.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"store":"694ce9f0-fd36-402d-a53c-3687cd7b631c","acks":[{"verdict":"accepted","count":3},{"verdict":"busy"}]}`,
		`{"store":"694ce9f0-fd36-402d-a53c-3687cd7b631c","refused":"store"}`,
		`{"store":"694ce9f0-fd36-402d-a53c-3687cd7b631c","acks":[{"verdict":"accepted","count":9223372036854775807},{"verdict":"stale","count":9223372036854775807}]}`,
		`{"error":"it cannot be read"}`, `{}`, ``, `[]`,
	} {
		f.Add([]byte(s), 4)
	}
	f.Fuzz(func(t *testing.T, data []byte, items int) {
		items &= 1023
		a, err := readAnswer(data, items)
		if n := 0; err == nil && a.Error == "" {
			if n = len(a.acks()); n > max(items, 1) {
				t.Errorf("%d acks for %d messages", n, items)
			}
		}
	})
}
