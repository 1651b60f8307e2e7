package lab

import (
	"fmt"
	"net/netip"
)

// The places that look at the demo world.
var (
	DemoScanner = netip.MustParseAddr("127.77.255.10") // zone internet: the published source of probes
	DemoOther   = netip.MustParseAddr("127.77.255.66") // somebody else on the internet
)

// The accounts of the demo world that are not tenants'.
const (
	DemoUser     = "demarc"
	DemoPassword = "lab-only"
	DemoProject  = "security"
)

// DemoScenario is the world of the demo: projects with owners at *.example, and a server for each way in which a
// shared responsibility goes wrong, or seems to.
func DemoScenario() Scenario {
	s := Scenario{Name: "demo", Sources: map[string]netip.Addr{"scanner": DemoScanner, "other": DemoOther}}
	demoPeople(&s)
	demoNetworks(&s)
	s.Images = []Image{{Name: "debian-12", OSDistro: "debian", OSVersion: "12"}, {Name: "debian-10", OSDistro: "debian", OSVersion: "10"}}
	demoGroups(&s)
	demoServers(&s)
	return s
}

func demoPeople(s *Scenario) {
	s.Projects = []Project{{Name: DemoProject}, {Name: "astro", Tags: []string{"contract=standard"}}, {Name: "genomics", Tags: []string{"contract=standard"}},
		{Name: "teaching", Tags: []string{"contract=standard"}}, {Name: "physics", Tags: []string{"contract=extended"}}, {Name: "compute", Tags: []string{"contract=standard"}}}
	admin := map[string]string{DemoProject: "admin"}
	s.Users = []User{
		{Name: DemoUser, Password: DemoPassword, Mail: "demarc@security.example", Roles: admin},
		{Name: "auditor", Password: "lab-only", Mail: "auditor@security.example", Roles: map[string]string{DemoProject: "auditor"}},
		{Name: "alice", Password: "lab-only", Mail: "alice@astro.example", Roles: map[string]string{"astro": "manager"}},
		{Name: "amir", Password: "lab-only", Mail: "amir@astro.example", Roles: map[string]string{"astro": "member"}},
		{Name: "bea", Password: "lab-only", Mail: "bea@genomics.example", Roles: map[string]string{"genomics": "manager"}},
		{Name: "bruno", Password: "lab-only", Mail: "bruno@genomics.example", Roles: map[string]string{"genomics": "member"}},
		{Name: "carol", Password: "lab-only", Mail: "carol@teaching.example", Roles: map[string]string{"teaching": "member"}},
		{Name: "dmitri", Password: "lab-only", Mail: "dmitri@physics.example", Roles: map[string]string{"physics": "manager"}},
		{Name: "elena", Password: "lab-only", Mail: "elena@compute.example", Roles: map[string]string{"compute": "manager"}},
	}
	s.AppCreds = []AppCred{{ID: "1ab0000000000000000000000000000a", Name: "demarc", Secret: "lab-only-secret", User: DemoUser, Project: DemoProject}}
}

// Tenants' networks overlap on purpose: 10.0.0.0/24 is everybody's.
func demoNetworks(s *Scenario) {
	s.Networks = []Network{{Name: "public", Project: DemoProject, External: true, Shared: true,
		Subnets: []Subnet{{Name: "public", CIDR: netip.MustParsePrefix("127.77.0.0/17"), Gateway: netip.MustParseAddr("127.77.0.1")}}}}
	for i, p := range s.Projects[1:] {
		net := p.Name + "-net"
		s.Networks = append(s.Networks, Network{Name: net, Project: p.Name, Subnets: []Subnet{{Name: net, CIDR: netip.MustParsePrefix("10.0.0.0/24")}}})
		s.Routers = append(s.Routers, Router{Name: p.Name + "-router", Project: p.Name, External: "public",
			Addr: netip.AddrFrom4([4]byte{127, 77, 0, byte(10 + i)}), Subnets: []string{net}})
	}
}

func demoGroups(s *Scenario) {
	world := netip.MustParsePrefix("0.0.0.0/0")
	office := Rule{Proto: "tcp", Min: 22, Max: 22, Remote: netip.MustParsePrefix("127.77.200.0/24")}
	redis := Rule{Proto: "tcp", Min: 6379, Max: 6379, Remote: world}
	ssh := Rule{Proto: "tcp", Min: 22022, Max: 22022, Remote: world}
	for _, p := range []string{"astro", "genomics", "teaching", "compute"} {
		s.Groups = append(s.Groups, Group{Name: "cache", Project: p, Rules: []Rule{redis, office}})
	}
	for _, p := range []string{"physics", "genomics"} {
		s.Groups = append(s.Groups, Group{Name: "ssh-any", Project: p, Rules: []Rule{ssh}})
	}
	s.Groups = append(s.Groups,
		Group{Name: "closed", Project: "teaching", Rules: []Rule{office}},
		Group{Name: "scan-me", Project: "genomics", Rules: []Rule{{Proto: "tcp", Min: 6379, Max: 6379, Remote: netip.PrefixFrom(DemoScanner, 32)}}})
}

func demoServers(s *Scenario) {
	open := Service{Kind: Redis, Port: 6379}
	sshd := Service{Kind: SSH, Port: 22022}
	add := func(name, project, creator, group, addr string, services ...Service) {
		n := byte(10 + len(s.Servers))
		nic := NIC{Network: project + "-net", Addr: netip.AddrFrom4([4]byte{10, 0, 0, n}), Groups: []string{group}}
		if addr != "" {
			nic.FloatingIP = netip.MustParseAddr(addr)
		}
		s.Servers = append(s.Servers, Server{Name: name, Project: project, Creator: creator, Image: "debian-12", NICs: []NIC{nic}, Services: services})
	}
	add("cache-1", "astro", "amir", "cache", "127.77.1.10", open)
	add("cache-2", "genomics", "bruno", "cache", "127.77.1.20", open)
	add("legacy-db", "physics", "dmitri", "ssh-any", "127.77.1.30", Service{Kind: SSH, Port: 22022, Banner: "SSH-2.0-OpenSSH_7.9p1 Debian-10+deb10u2"})
	s.Servers[len(s.Servers)-1].Image = "debian-10"
	add("notebook", "teaching", "carol", "cache", "127.77.1.40", open)
	add("leaky", "teaching", "carol", "closed", "127.77.1.50", Service{Kind: Postgres, Port: 5432, Mode: "trust", Leak: true})
	add("scanner-only", "genomics", "bea", "scan-me", "127.77.1.55", open)
	add("mover-1", "astro", "alice", "cache", "127.77.1.60", open)
	add("mover-2", "genomics", "bea", "ssh-any", "", sshd)
	for i := 1; i <= 5; i++ {
		add(fmt.Sprintf("farm-%d", i), "compute", "elena", "cache", fmt.Sprintf("127.77.2.%d", i), open)
	}
}
