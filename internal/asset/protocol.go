package asset

import (
	"slices"
	"strconv"
)

// The IP protocols that we ask about, or that have something of their own. Source: IANA, Assigned Internet Protocol Numbers.
const (
	ProtocolHopOpt  = 0 // every protocol to some drivers, and none to others
	ProtocolICMP    = 1
	ProtocolTCP     = 6
	ProtocolUDP     = 17
	ProtocolDCCP    = 33
	ProtocolICMPv6  = 58
	ProtocolSCTP    = 132
	ProtocolUDPLite = 136
)

// protocols are the names that Neutron takes, with their numbers. Source: neutron_lib.constants, IP_PROTOCOL_MAP.
var protocols = map[string]int{"ah": 51, "dccp": ProtocolDCCP, "egp": 8, "esp": 50, "gre": 47, "hopopt": ProtocolHopOpt, "icmp": ProtocolICMP, "icmpv6": ProtocolICMPv6, "igmp": 2,
	"ip": ProtocolHopOpt, "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": ProtocolICMPv6, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46,
	"sctp": ProtocolSCTP, "tcp": ProtocolTCP, "udp": ProtocolUDP, "udplite": ProtocolUDPLite, "vrrp": 112}

// ProtocolNumber is the number of what a rule names one protocol by: a name of Neutron's in small letters, or a number from 0 to 255
// without anything before it. It is false for all else, and for "" and any, which are every protocol.
func ProtocolNumber(word string) (int, bool) {
	if n, ok := protocols[word]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(word, 10, 8)
	return int(n), err == nil && strconv.FormatUint(n, 10) == word
}

// EveryProtocol tells whether a rule names no protocol, and so means all.
func EveryProtocol(word string) bool { return word == "" || word == "any" }

// IsICMP tells whether a rule's protocol is ICMP or ICMPv6: it has a type and perhaps a code, and no ports.
func IsICMP(word string) bool {
	n, ok := ProtocolNumber(word)
	return ok && (n == ProtocolICMP || n == ProtocolICMPv6)
}

// HasPorts tells whether a rule of a protocol may name ports. Source: neutron.common._constants, SG_PORT_PROTO_NUMS.
func HasPorts(word string) bool {
	n, ok := ProtocolNumber(word)
	return ok && slices.Contains([]int{ProtocolTCP, ProtocolUDP, ProtocolDCCP, ProtocolSCTP, ProtocolUDPLite}, n)
}

// PortsFit tells whether the two numbers of a security group's rule are what Neutron keeps for its protocol: both AnyPort; of ICMP a
// type and perhaps a code, 0 to 255; of what has ports the two ends of a run within 1 to 65535. Source: neutron.db.securitygroups_db,
// _validate_port_range.
func PortsFit(protocol string, first, last int) bool {
	switch {
	case first == AnyPort && last == AnyPort:
		return true
	case IsICMP(protocol):
		return first >= 0 && first <= 255 && last >= AnyPort && last <= 255
	}
	return HasPorts(protocol) && first >= 1 && first <= last && last <= 65535
}
