package asset

import (
	"fmt"
	"testing"
)

// follower holds readings against what it knows as a ledger does: a partial reading only adds, and of whole ones the second in a row that
// lacks a row removes it.
type follower struct {
	l        Losses
	known    map[PortID]Port
	lacks    map[PortID]int
	projects int
	at       int64 // µs
}

const minute = int64(60_000_000)

func newFollower(projects, each int) (*follower, map[PortID]Port) {
	f, cloud := &follower{known: map[PortID]Port{}, lacks: map[PortID]int{}, projects: projects}, map[PortID]Port{}
	for p := range projects {
		for i := range each {
			id := PortID(fmt.Sprintf("p%d-%d", p, i))
			cloud[id] = Port{ID: id, Project: ProjectID(fmt.Sprint("p", p))}
		}
	}
	f.read(cloud, 1)
	return f, cloud
}

func (f *follower) of(ports map[PortID]Port) *Snapshot {
	s := &Snapshot{Routers: []Router{{ID: "r", Project: "p0"}}}
	for i := range f.projects {
		s.Projects = append(s.Projects, Project{ID: ProjectID(fmt.Sprint("p", i))})
	}
	for _, p := range ports {
		s.Ports = append(s.Ports, p)
	}
	return s
}

// read takes a reading in, some minutes after the last, and tells whether it is whole. What ten minutes lie between is said twice.
func (f *follower) read(ports map[PortID]Port, minutes int64) bool {
	f.at += minutes * minute
	whole := len(f.l.Hold(f.of(f.known), f.of(ports), f.at, 10*minute)) == 0
	for id, p := range ports {
		f.known[id], f.lacks[id] = p, 0
	}
	for id := range f.known {
		if _, listed := ports[id]; !listed && whole {
			if f.lacks[id]++; f.lacks[id] == 2 {
				delete(f.known, id)
			}
		}
	}
	return whole
}

// Everybody deletes a port now and then: nothing of that was held, so nobody is taken at his word when a page is lost.
func TestOrdinaryDeletionsExcuseNoFault(t *testing.T) {
	for _, apart := range []int64{1, 15} {
		f, cloud := newFollower(20, 50)
		for p := range 20 {
			delete(cloud, PortID(fmt.Sprintf("p%d-0", p)))
			for range 3 {
				if !f.read(cloud, apart) {
					t.Fatal("one port is held")
				}
			}
		}
		page := map[PortID]Port{}
		for id, p := range cloud {
			if len(page) < 10 {
				page[id] = p
			}
		}
		if f.read(page, apart) || len(f.known) < 900 {
			t.Errorf("a reading each %d minutes: of %d ports that are known 10 are listed, and it counts as whole", apart, len(f.known))
		}
	}
}

// Of many who lose at once nobody is excused, also who was taken at his word.
func TestWhoIsBelievedIsNotWhileManyLose(t *testing.T) {
	f, cloud := newFollower(20, 5)
	without := func(project int, of map[PortID]Port) {
		for i := range 5 {
			delete(of, PortID(fmt.Sprintf("p%d-%d", project, i)))
		}
	}
	for p := range 3 { // three of them empty their projects, and make them anew
		for i := range 20 {
			id := PortID(fmt.Sprintf("p%d-more-%d", p, i))
			cloud[id] = Port{ID: id, Project: ProjectID(fmt.Sprint("p", p))}
		}
		f.read(cloud, 15)
		for i := range 20 {
			delete(cloud, PortID(fmt.Sprintf("p%d-more-%d", p, i)))
		}
		f.read(cloud, 15)
		f.read(cloud, 15)
	}
	if len(f.l.borne) == 0 {
		t.Fatal("nobody is taken at his word")
	}
	for p := range 6 {
		without(p, cloud)
	}
	if f.read(cloud, 15) {
		t.Error("six projects lost all they had, and it counts as whole")
	}
}

// Who churns in many kinds takes one place among those who are believed, whatever he churns.
func TestManyKindsOfOneAreOneDoing(t *testing.T) {
	var l Losses
	partial := 0
	of := func(n int) *Snapshot {
		s := &Snapshot{Ports: []Port{{ID: "p", Project: "a"}}}
		for i := range 12 {
			id := fmt.Sprintf("x-%d-%d", n, i)
			s.Ports = append(s.Ports, Port{ID: PortID(id), Project: "x"})
			s.Routers = append(s.Routers, Router{ID: RouterID(id), Project: "x"})
			s.Networks = append(s.Networks, Network{ID: NetworkID(id), Project: "x"})
			s.Subnets = append(s.Subnets, Subnet{ID: SubnetID(id), Project: "x"})
			s.Groups = append(s.Groups, Group{ID: GroupID(id), Project: "x"})
		}
		return s
	}
	known := of(0)
	for n := 1; n <= 48; n++ {
		now := of(n)
		if len(l.Hold(known, now, int64(n)*30*minute, 30*minute)) > 0 {
			partial++
			now.Ports, now.Routers, now.Networks = append(now.Ports, known.Ports...), append(now.Routers, known.Routers...), append(now.Networks, known.Networks...)
			now.Subnets, now.Groups = append(now.Subnets, known.Subnets...), append(now.Groups, known.Groups...)
		}
		known = now
	}
	if partial == 0 || partial > 6 {
		t.Errorf("%d of 48 readings are partial", partial)
	}
}

// A port of a gateway is nobody's by what Neutron says: who sets his gateways anew each time is taken at his word as with what is his.
func TestGatewaysKeepNoReadingPartial(t *testing.T) {
	f, cloud := newFollower(9, 10)
	partial, made := 0, 0
	var mine []PortID
	for range 90 {
		for _, id := range mine {
			delete(cloud, id)
		}
		mine = nil
		for range 12 {
			made++
			id := PortID(fmt.Sprint("gateway-", made))
			mine = append(mine, id)
			cloud[id] = Port{ID: id, Device: "r", DeviceOwner: "network:router_gateway"}
		}
		if !f.read(cloud, 1) {
			partial++
		}
	}
	if partial == 0 || partial > 15 {
		t.Errorf("%d of 90 readings are partial", partial)
	}
}
