package reach

// doubt says why the model is not proven for a path. What is in doubt is asked and told; it is never ground for saying that a
// filter leaks, nor for an act.
type doubt uint16

const (
	doubtNIC      doubt = 1 << iota // SR-IOV, macvtap, smart NICs
	doubtMetal                      // Ironic
	doubtDown                       // Neutron's status contradicts the wanted state
	doubtFirewall                   // FWaaS
	doubtBalancer                   // Octavia
	doubtScope                      // address scopes
	doubtRouted                     // private IPv4 routed from outside
	doubtMixed                      // stateful and stateless groups on one port
	doubtPairs                      // address pairs of a remote group's members
	doubtZero                       // protocol number 0
	doubtTrusted                    // a port of the network service itself
	doubtUnread                     // an object that the inventory does not hold
	doubtTrunk                      // the parent decides whether a subport lives
	doubtSpread                     // an address pair that is wider than one address
	doubtNamed                      // a firewall rule that asks more than is modelled
	doubtDriver                     // a stateless group under a driver that ignores the word, or may
)

var doubtWords = []struct {
	bit  doubt
	text string
}{
	{doubtNIC, "the port's type leaves the filtering to the hardware: not every agent enforces groups there"},
	{doubtMetal, "a bare-metal machine: no agent stands between it and its network"},
	{doubtDown, "Neutron says that the port is down"},
	{doubtFirewall, "a firewall group decides too"},
	{doubtBalancer, "a load balancer takes the connection"},
	{doubtScope, "address scopes decide whether it is routed"},
	{doubtRouted, "a private address is reached through a router without translation"},
	{doubtMixed, "stateful and stateless groups on one port"},
	{doubtPairs, "a remote group's members have address pairs: not every driver counts them as members"},
	{doubtZero, "protocol 0 is every protocol to some drivers, and none to others"},
	{doubtTrusted, "a port of the network service: groups do not apply"},
	{doubtUnread, "the inventory lacks an object on the path"},
	{doubtTrunk, "a subport lives only while its trunk does"},
	{doubtSpread, "an address pair covers more than one address"},
	{doubtDriver, "a stateless group: the driver of the port treats it as a stateful one, or is not known"},
	{doubtNamed, "a firewall rule names a firewall group: what it lets in is read without that, and what it denies is not read"},
}

// words lists the reasons.
func (d doubt) words() []string {
	var out []string
	for _, w := range doubtWords {
		if d&w.bit != 0 {
			out = append(out, w.text)
		}
	}
	return out
}
