package message

import (
	"slices"
	"strings"
)

// Nearest is the one of names that key may have been meant to be; "" if none is near.
func Nearest(key string, names []string) string {
	if len(key) > 64 || len(names) == 0 {
		return ""
	}
	for _, n := range names {
		if strings.EqualFold(n, key) {
			return n
		}
	}
	n := slices.MinFunc(names, func(a, b string) int { return distance(a, key) - distance(b, key) })
	limit := max(2, len(n)/3)
	if len(n) < 4 {
		limit = 1
	}
	if distance(n, key) > limit {
		return ""
	}
	return n
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
