package config

import (
	"strconv"
	"strings"
	"time"
)

// ISODuration reads a non-negative ISO 8601 duration of days and smaller units,
// such as P1DT2H3M4.5S. One that does not fit ends at the longest there is.
func ISODuration(s string) (d time.Duration, ok bool) {
	if !isoDuration(s) {
		return 0, false
	}
	units := map[byte]time.Duration{'D': 24 * time.Hour, 'H': time.Hour, 'M': time.Minute, 'S': time.Second}
	total := 0.0
	for s = strings.Trim(strings.ReplaceAll(strings.ToUpper(s), "T", ""), "P"); s != ""; {
		i := strings.IndexAny(s, "DHMS")
		n, err := strconv.ParseFloat(s[:i], 64)
		if err != nil {
			return 0, false
		}
		total += n * float64(units[s[i]])
		s = s[i+1:]
	}
	const longest = time.Duration(1<<63 - 1)
	if total >= float64(longest) {
		return longest, true
	}
	return time.Duration(total), true
}
