package store

import "testing"

// FuzzRecords seals arbitrary payloads, so that the parsers behind the checksum
// see them: they answer or refuse, but never panic.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("key"), []byte(nil))
	f.Add([]byte("key"), []byte{statusVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(make([]byte, 16), make([]byte, 64))
	f.Fuzz(func(t *testing.T, key, payload []byte) {
		v := seal(key, payload)
		_, _ = decodeBody(key, v)
		_, _ = decodeStatus(key, v)
		_, _ = decodeSlot(key, v)
		_, _ = decodeRoad(key, v)
		_, _ = decodeLane(key, v)
		_, _ = decodePending(key, v)
		v[len(v)-1] ^= 1
		if _, err := decodeSlot(key, v); err == nil {
			t.Fatal("a flipped bit passed")
		}
	})
}
