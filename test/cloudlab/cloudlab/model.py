"""What a scenario is made of, as values; addresses and prefixes are those of the ipaddress module."""
from dataclasses import dataclass, field


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
    group: str = None
    addresses: str = None


@dataclass
class User:
    name: str
    role: str
    email: str
    keypairs: dict = field(default_factory=dict)


@dataclass
class Volume:
    name: str
    owner: str
    size: int
    snapshots: list


@dataclass
class Project:
    name: str
    description: str
    users: dict
    networks: dict
    routers: dict
    address_groups: dict
    groups: dict
    volumes: dict


@dataclass
class NIC:
    network: str
    addresses: list
    groups: list
    port_security: bool


@dataclass
class Server:
    name: str
    project: str
    services: list
    nics: list
    floating: object
    firewall: str


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

    def network(self, name):
        """A network by its name, a provider's or a project's; None if there is none."""
        for networks in [self.providers] + [p.networks for p in self.projects.values()]:
            if name in networks:
                return networks[name]

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
            out += [server.floating] if server.floating else []
            out += [a for nic in server.nics for a in nic.addresses
                    if nic.network in self.providers or any(a in cidr for cidr in routed)]
        return out
