package journal

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseMoment reads a point in time: RFC 3339, "2006-01-02[ 15:04[:05]]" in the
// zone of now, "now", "today", "yesterday", "@" and Unix seconds, or how long ago:
// "90s", "15m", "24h", "7d", "2w".
func ParseMoment(text string, now time.Time) (time.Time, error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch text {
	case "now":
		return now, nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	}
	if t, ok := ParseRFC3339(text); ok {
		return t, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil && inRange(t) {
			return t, nil
		}
	}
	if digits, ok := strings.CutPrefix(text, "@"); ok {
		if n, err := strconv.ParseUint(digits, 10, 40); err == nil && inRange(time.Unix(int64(n), 0)) {
			return time.Unix(int64(n), 0), nil
		}
	}
	if ago, ok := parseAgo(strings.TrimPrefix(text, "-")); ok {
		return now.Add(-ago), nil
	}
	return time.Time{}, fmt.Errorf("%.60q is not a time: use 2006-01-02, \"2006-01-02 15:04\", RFC 3339, today, yesterday, or how long ago, such as 90m, 24h or 7d", text)
}

// ParseRFC3339 parses a time. It fails if the year in UTC does not have four digits:
// JSON could not represent it.
func ParseRFC3339(text string) (t time.Time, ok bool) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !inRange(t) {
		return time.Time{}, false
	}
	return t.UTC(), true
}

func inRange(t time.Time) bool {
	year := t.UTC().Year()
	return 0 <= year && year <= 9999
}

func parseAgo(text string) (time.Duration, bool) {
	if text == "" {
		return 0, false
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	unit, known := units[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	const most = 100 * 366 * 24 * time.Hour
	if !known || err != nil || n > uint64(most/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
