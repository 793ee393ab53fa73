package doctor

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every id is of one problem, and the manual page has the catalog.
func TestCatalog(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, e := range Catalog() {
		if slices.Contains(ids, e.ID) || !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(e.ID) || !strings.HasSuffix(e.Means, ".") {
			t.Errorf("bad entry %+v", *e)
		}
		ids = append(ids, e.ID)
	}
	page, err := os.ReadFile("../../../man/eicctl-doctor.8")
	if err != nil {
		t.Fatal(err)
	}
	var inPage []string
	for _, m := range regexp.MustCompile(`(?m)^\.It Li ([a-z0-9-]+)\n(.*)$`).FindAllStringSubmatch(string(page), -1) {
		inPage = append(inPage, m[1])
		i := slices.Index(ids, m[1])
		if i < 0 {
			t.Errorf("the manual page has %s, which is not in the catalog", m[1])
		} else if m[2] != Catalog()[i].Means {
			t.Errorf("the manual page says of %s %q, the catalog %q", m[1], m[2], Catalog()[i].Means)
		}
	}
	if !slices.Equal(inPage, ids) {
		t.Errorf("the manual page has %q, the catalog %q", inPage, ids)
	}
}
