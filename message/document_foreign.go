package message

import "bytes"

// Foreign names the encoding of a text that begins with b and is not UTF-8, as
// editors and shells of Windows write it; "" if it may be UTF-8.
func Foreign(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe\x00\x00")), bytes.HasPrefix(b, []byte("\x00\x00\xfe\xff")):
		return "UTF-32"
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")),
		len(b) >= 4 && (wide(b[0], b[2], b[1], b[3]) || wide(b[1], b[3], b[0], b[2])):
		return "UTF-16"
	}
	return ""
}

// wide reports whether two characters, with what stands beside them, may begin a
// document in UTF-16 without a byte order mark.
func wide(first, second, high1, high2 byte) bool {
	return opens(first) && (second >= ' ' && second < 0x7f || space(second)) && high1 == 0 && high2 == 0
}

// foreign is a text in another encoding. It ends where UTF-8 begins again, which
// somebody else may have appended.
func (w *walk) foreign() (part, bool) {
	f := &fault{pos: w.at, was: Foreign(w.text[w.at:]) + ", as editors and shells of Windows write it", want: "UTF-8: save it as UTF-8 and submit it again"}
	for j := w.at + 1; j+1 < len(w.text); j++ {
		if w.text[j-1] == 0 || w.text[j-1] == '\n' {
			if opens(w.text[j]) && (space(w.text[j+1]) || opens(w.text[j+1]) || bytes.IndexByte([]byte(`"]}`), w.text[j+1]) >= 0) {
				return w.leave(w.at, j, f), true
			}
		}
	}
	return w.cut(w.at, f)
}
