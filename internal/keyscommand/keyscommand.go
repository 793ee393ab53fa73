// Package keyscommand knows what sshd takes an AuthorizedKeysCommand for: how the
// line is split, which tokens it may have, and who may be able to change the
// program that it names (sshd_config(5); openssh-portable, misc.c).
package keyscommand

import (
	"errors"
	"fmt"
	"strings"
)

// Split splits a command line into words as sshd does: at blanks, with single and
// double quotes, in which blanks stand for themselves, and a backslash before a
// quote or a backslash, and outside quotes before a blank. No shell is involved. A
// line without a word is an error.
func Split(line string) ([]string, error) {
	var words []string
	var word []byte
	inWord := false
	var quote byte
	for i := 0; i < len(line); i++ {
		c := line[i]
		next := byte(0)
		if i+1 < len(line) {
			next = line[i+1]
		}
		switch {
		case c == '\\' && (next == '\'' || next == '"' || next == '\\' || quote == 0 && next == ' '):
			word, inWord = append(word, next), true
			i++
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words, word, inWord = append(words, string(word)), nil, false
			}
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote != 0 && c == quote:
			quote = 0
		default:
			word, inWord = append(word, c), true
		}
	}
	if quote != 0 {
		return nil, errors.New("unterminated quote")
	}
	if inWord {
		words = append(words, string(word))
	}
	if len(words) == 0 {
		return nil, errors.New("it is empty")
	}
	return words, nil
}

// Tokens returns the letters of the tokens in text, such as 'u' for %u, in their
// order, each once, without %%. A percent sign that nothing follows is an error, as
// it is for sshd.
func Tokens(text string) ([]byte, error) {
	var letters []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		if i++; i == len(text) {
			return nil, errors.New("unescaped % at the end")
		}
		if c := text[i]; c != '%' && strings.IndexByte(string(letters), c) < 0 {
			letters = append(letters, c)
		}
	}
	return letters, nil
}

// Expand replaces the tokens in text by their values; %% is a percent sign. It
// fails for a token without a value.
func Expand(text string, values map[byte]string) (string, error) {
	if strings.IndexByte(text, '%') < 0 {
		return text, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i++; i == len(text) {
			return "", errors.New("unescaped % at the end")
		}
		value, known := values[text[i]]
		switch {
		case text[i] == '%':
			b.WriteByte('%')
		case known:
			b.WriteString(value)
		default:
			return "", fmt.Errorf("there is no value for %%%c", text[i])
		}
	}
	return b.String(), nil
}
