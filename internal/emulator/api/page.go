package api

import "strconv"

// Page reads MaxResults and NextToken.
func (c *Call) Page() (first, limit int, err error) {
	const all, least, most = 1 << 20, 5, 1000
	limit = all
	if text := c.Params.Text("MaxResults"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < least || limit > most {
			return 0, 0, InvalidParameter("Value ( %s ) for parameter maxResults is invalid. Expecting a value between %d and %d.", Cut(text), least, most)
		}
	}
	first, ok := Place(c.Params.Text("NextToken"))
	if !ok {
		return 0, 0, InvalidParameter("Unable to parse pagination token")
	}
	return first, limit, nil
}

// PageOf returns the items of a page, and the token of the next one.
func PageOf[T any](all []T, first, limit int) (some []T, next string) {
	if first+limit < len(all) {
		next = strconv.Itoa(first + limit)
	}
	return all[min(first, len(all)):min(first+limit, len(all))], next
}

// Place reads a page token, which is the number of the first item; there are
// none of numbers beyond a million.
func Place(token string) (first int, ok bool) {
	if token == "" {
		return 0, true
	}
	first, err := strconv.Atoi(token)
	return first, err == nil && first >= 0 && first <= 1<<20
}
