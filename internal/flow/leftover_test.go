package flow

import (
	"testing"

	"demarc/internal/casework"
)

// An order that ends a leftover is about another one where it is about its machine, or about its port.
func TestOrdersAboutTheSameLeftover(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		order casework.Act
		left  casework.Leftover
		same  bool
	}{
		"its machine":     {casework.Act{Server: "s1"}, casework.Leftover{Server: "s1"}, true},
		"another machine": {casework.Act{Server: "s1"}, casework.Leftover{Server: "s2", Port: "p2"}, false},
		"its port":        {casework.Act{Ports: []casework.PortOrder{{Port: "p1"}, {Port: "p2"}}}, casework.Leftover{Port: "p2"}, true},
		"another port":    {casework.Act{Ports: []casework.PortOrder{{Port: "p1"}}}, casework.Leftover{Port: "p2"}, false},
		"no machine":      {casework.Act{}, casework.Leftover{Port: "p2"}, false},
	} {
		if sameLeftover(c.order, c.left) != c.same {
			t.Errorf("%s: %t", name, !c.same)
		}
	}
}
