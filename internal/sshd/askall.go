package sshd

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// AskAll is Ask with every value of a keyword that can be given more often, such
// as DenyUsers, in their order.
func (s *Server) AskAll(ctx context.Context, conn Connection) (map[string][]string, error) {
	args := []string{"-T"}
	if s.Version.AtLeast(9, 3) {
		args[0] = "-G"
	}
	if conn != (Connection{}) {
		spec, err := conn.spec(s)
		if err != nil {
			return nil, err
		}
		args = append(args, "-C", spec)
	}
	out, err := s.run(ctx, args...)
	switch {
	case err != nil && (!started(err) || isEnvironment(err.Error())):
		return nil, fmt.Errorf("%w: %v", ErrCannotRun, err)
	case err != nil:
		return nil, errors.New(err.Error())
	}
	values := make(map[string][]string)
	for line := range strings.Lines(out) {
		keyword, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		values[keyword] = append(values[keyword], value)
	}
	return values, nil
}

// MatchList reports whether one of the patterns matches s and none with ! before
// it does, as in AllowUsers and Match User.
func MatchList(patterns []string, s string) bool { return matchList(patterns, s) }
