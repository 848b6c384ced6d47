package server_test

import (
	"strings"
	"testing"
	"time"
)

// The page of a node tells of all members, and of its own rates once it has looked twice.
func TestPageOfARealNode(t *testing.T) {
	c := newNodes(t)
	a := c.start("a", withAdmin)
	c.start("b", withAdmin)
	c.eventually(20*time.Second, "the page tells of both", func() bool {
		a.check(t, key(1))
		status, page := a.page("/statusz")
		return status == 200 && strings.Contains(page, "healthy: 2 members") && strings.Contains(page, "all with their owners") &&
			strings.Contains(page, `<th scope="row">ten</th>`) && !strings.Contains(page, "not ready")
	})
}
