package config

// Nearest returns the known name that a mistyped one most likely meant, or ""
// if none is near: at most a third of its letters may differ.
func Nearest(name string, scopes ...Scope) string {
	best, at := "", len(name)/3+1
	for _, scope := range scopes {
		for _, d := range table[scope] {
			if n := distance(name, d.Name, at); n < at {
				best, at = d.Name, n
			}
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap with their
// neighbour to get from a to b (Damerau, optimal string alignment). It gives
// up at limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
			least = min(least, cur[j])
		}
		if least >= limit {
			return limit
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return min(prev[len(b)], limit)
}
