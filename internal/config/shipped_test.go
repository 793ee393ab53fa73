package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// The file that packages install sets nothing.
func TestShipped(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../packaging/config.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("the file is not the default configuration: %+v", c)
	}
}

// The example has every key, with its default behind a #.
func TestExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../packaging/config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	key := regexp.MustCompile(`(?m)^#([a-z_]+) = `)
	c, err := Parse(key.ReplaceAll(text, []byte("$1 = ")))
	if err != nil {
		t.Fatal(err)
	}
	// An empty list is none.
	for _, list := range []*[]string{&c.Trust.Domains, &c.Users.Deny, &c.Users.Allow, &c.Chain.Command} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("it is not the default configuration: %+v", c)
	}
	var shown []string
	for _, match := range key.FindAllStringSubmatch(string(text), -1) {
		shown = append(shown, match[1])
	}
	if got, want := strings.Join(shown, " "), strings.Join(keys(reflect.TypeFor[Config]()), " "); got != want {
		t.Errorf("it shows the keys\n%s\nwant\n%s", got, want)
	}
}

// keys lists the keys of a configuration in their order, but those of lists of tables.
func keys(kind reflect.Type) (names []string) {
	for i := range kind.NumField() {
		field := kind.Field(i)
		name := field.Tag.Get("toml")
		switch {
		case name == "":
		case field.Type.Kind() == reflect.Struct && field.Type.NumField() > 0 && field.Type.Field(0).Tag.Get("toml") != "":
			names = append(names, keys(field.Type)...)
		case field.Type.Kind() != reflect.Slice || field.Type.Elem().Kind() != reflect.Struct:
			names = append(names, name)
		}
	}
	return names
}
