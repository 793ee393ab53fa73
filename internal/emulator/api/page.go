package api

import "strconv"

// A Page is the part of an answer that a call asks for.
type Page struct{ first, limit int }

// Page reads MaxResults, which is between least and most, and NextToken.
func (c *Call) Page(least, most int) (Page, error) {
	const all = 1 << 20
	p := Page{limit: all}
	if text := c.Params.Text("MaxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return p, InvalidParameter("Value ( %s ) for parameter maxResults is invalid. Expecting a value between %d and %d.", Cut(text), least, most)
		}
		p.limit = n
	}
	first, ok := Place(c.Params.Text("NextToken"))
	if !ok {
		return p, InvalidParameter("Unable to parse pagination token")
	}
	p.first = first
	return p, nil
}

// PageOf returns the items of a page, and the token of the next one.
func PageOf[T any](all []T, p Page) (some []T, next string) {
	if p.first+p.limit < len(all) {
		next = strconv.Itoa(p.first + p.limit)
	}
	return all[min(p.first, len(all)):min(p.first+p.limit, len(all))], next
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
