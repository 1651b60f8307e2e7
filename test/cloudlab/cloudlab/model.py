"""What a scenario is made of, as values; addresses and prefixes are those of the ipaddress module."""
from dataclasses import dataclass, field


# Neutron's names of protocols; it takes any number from 0 to 255 too.
PROTOCOLS = {"ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4,
             "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113,
             "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112}
PORTED = {6, 17, 33, 132, 136}        # have ports
OF_IPV6 = {41, 43, 44, 58, 59, 60}    # Neutron refuses them for IPv4


@dataclass
class Vantage:
    name: str
    edge: list       # the router's addresses on this network
    addresses: list  # the vantage point's own; the first of each family is the usual source


@dataclass
class Subnet:
    name: str
    cidr: object
    gateway: object = None
    pool: list = None


@dataclass
class Network:
    name: str
    subnets: dict
    project: str = None  # None: a provider network


@dataclass
class Router:
    name: str
    network: str     # the provider network outside
    addresses: list  # its own there
    subnets: list


@dataclass
class Rule:
    protocol: str = None
    low: int = None
    high: int = None
    cidr: object = None
    group: str = None       # of the same project, or PROJECT/GROUP
    addresses: str = None
    direction: str = "ingress"
    families: tuple = (4, 6)  # for rules whose remote end is not a prefix

    def keys(self):
        """What Neutron compares: two rules of a group that share a key are the same to it."""
        number = self.protocol and int(PROTOCOLS.get(self.protocol, self.protocol))
        ports = (None, None) if (self.low, self.high) == (1, 65535) else (self.low, self.high)
        prefix = str(self.cidr) if self.cidr and self.cidr.prefixlen else None  # the whole world is no remote
        for family in (self.cidr.version,) if self.cidr else self.families:
            # Of IPv6, icmp means ICMPv6.
            yield (self.direction, family, 58 if number == 1 and family == 6 else number, ports, prefix, self.group, self.addresses)

    def count(self):
        """How many rules Neutron has of it: without a prefix, one for each family."""
        return 1 if self.cidr else len(self.families)


@dataclass
class Group:
    key: str
    title: str            # its name in the cloud
    rules: list
    stateful: bool = True
    default_egress: bool = True  # keep the two egress rules that Neutron adds to a new group
    shared_with: list = field(default_factory=list)  # other projects that may use it

    def count(self, direction):
        added = 2 if direction == "egress" and self.default_egress else 0
        return added + sum(r.count() for r in self.rules if r.direction == direction)


@dataclass
class Service:
    """A service that the scenario defines: a command, or a listener with fixed texts."""
    name: str
    port: int
    command: list
    greeting: str
    answer: str


@dataclass
class User:
    name: str
    role: str
    email: str
    keypairs: dict = field(default_factory=dict)
    enabled: bool = True


@dataclass
class Volume:
    name: str
    owner: str
    size: int
    snapshots: list


@dataclass
class Project:
    name: str
    title: str  # its name in the cloud
    description: str
    users: dict
    networks: dict
    routers: dict
    address_groups: dict
    groups: dict
    volumes: dict


@dataclass
class Forward:
    """A port of a floating IP, forwarded to a port of a fixed IP."""
    protocol: str
    floating: object
    outer: int
    fixed: object
    inner: int


@dataclass
class NIC:
    network: str
    addresses: list
    groups: list
    port_security: bool
    floating: dict = field(default_factory=dict)  # floating IP: fixed IP
    forwards: list = field(default_factory=list)


@dataclass
class Server:
    name: str
    title: str  # its name in the cloud
    project: str
    services: list
    nics: list
    floating: object  # for the first NIC
    firewall: str
    off: bool = False

    def first_ipv4(self):
        """The address that `floating` leads to, or None."""
        return next((a for a in self.nics[0].addresses if a.version == 4), None) if self.nics else None

    def floating_ips(self):
        """Every floating IP that leads to the server as a whole."""
        return ([self.floating] if self.floating else []) + [f for nic in self.nics for f in nic.floating]


@dataclass
class View:
    """What is open from one source."""
    vantage: str
    source: object
    open: dict  # address: [ports]


@dataclass
class Trial:
    """A rule that opens what is closed: added, then deleted."""
    project: str
    group: str
    rule: Rule
    vantage: str
    address: object
    port: int


@dataclass
class Expect:
    ports: list
    views: list
    trials: list


@dataclass
class Scenario:
    name: str
    description: str
    vantages: dict
    scanners: list
    no_route: list
    providers: dict
    projects: dict
    servers: dict
    expect: Expect
    services: dict = field(default_factory=dict)

    def network(self, name):
        """A network by its name, a provider's or a project's; None if there is none."""
        for networks in [self.providers] + [p.networks for p in self.projects.values()]:
            if name in networks:
                return networks[name]

    def group(self, project, name):
        """A group as a project refers to it: its own by the key, another's that is shared with it as PROJECT/GROUP; else None."""
        owner, slash, key = name.partition("/")
        if not slash:
            return self.projects[project].groups.get(name)
        found = self.projects[owner].groups.get(key) if owner in self.projects else None
        return found if found and (owner == project or project in found.shared_with) else None

    def routed6(self):
        """(prefix, gateway) of each project's IPv6 subnet that the edge must know the way to."""
        return [(subnet.cidr, gateway) for project in self.projects.values() for router in project.routers.values()
                for gateway in router.addresses if gateway.version == 6
                for network in project.networks.values() for subnet in network.subnets.values()
                if subnet.name in router.subnets and subnet.cidr.version == 6]

    def reachable(self):
        """The servers' addresses that the world outside has a way to."""
        routed = [cidr for cidr, _ in self.routed6()]
        out = []
        for server in self.servers.values():
            out += server.floating_ips()
            out += [f.floating for nic in server.nics for f in nic.forwards if f.floating not in out]
            out += [a for nic in server.nics for a in nic.addresses
                    if nic.network in self.providers or any(a in cidr for cidr in routed)]
        return out
