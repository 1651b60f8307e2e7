"""A scenario: what a cloud holds and what lies around it, read from a YAML file and checked before anything starts.

The format is described in README.md. Reading never stops at the first mistake: all of them are said at once,
each with its place in the file.
"""
import ipaddress
import os
import re
from dataclasses import dataclass, field

from . import daemons
from .settings import SCENARIOS, Failure, path, read

NAME = re.compile(r"[a-z][a-z0-9-]*$")
RESERVED = {"admin", "service", "security", "edge", "fabric", "auditor", "enforcer", "reader", "demarc"}
RULE = re.compile(r"(?P<proto>any|icmp|tcp|udp)(?:/(?P<low>\d+)(?:-(?P<high>\d+))?)? from "
                  r"(?:group (?P<group>\S+)|addresses (?P<addresses>\S+)|(?P<cidr>\S+))$")


class Invalid(Failure):
    """The file's mistakes, one per line."""


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


class Node:
    """A mapping of the file with its place in it. What is not asked for by `close` is an unknown key."""

    def __init__(self, value, place, mistakes):
        self.place, self.mistakes, self.asked = place, mistakes, set()
        self.value = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self.wrong("", "must be a mapping")

    def wrong(self, key, text):
        self.mistakes.append(f"{'.'.join(filter(None, [self.place, str(key)])) or 'the file'}: {text}")

    def get(self, key, kind, default=None, required=False):
        self.asked.add(key)
        value = self.value.get(key)
        if value is None:
            if required:
                self.wrong(key, "is missing")
            return default
        if not isinstance(value, kind) or isinstance(value, bool) and kind is int:
            self.wrong(key, f"must be a {WORD[kind]}")
            return default
        return value

    def text(self, key, default="", **more):
        return self.get(key, str, default, **more)

    def each(self, key, read, required=False):
        """A mapping of names to mappings, read one by one."""
        out = {}
        for name, value in self.get(key, dict, {}, required).items():
            child = Node({} if value is None else value, f"{self.place}.{key}.{name}".lstrip("."), self.mistakes)
            if not NAME.match(str(name)):
                child.wrong("", "a name is lower-case letters, digits and hyphens")
            out[name] = read(str(name), child)
            child.close()
        return out

    def items(self, key, read, required=False):
        """A list of mappings."""
        out = []
        for number, value in enumerate(self.get(key, list, [], required)):
            child = Node(value, f"{self.place}.{key}[{number}]".lstrip("."), self.mistakes)
            out.append(read(child))
            child.close()
        return out

    def parsed(self, key, parse, values):
        """Values through a parser of the ipaddress module; what it refuses is a mistake."""
        out = []
        for value in values:
            try:
                out.append(parse(value))
            except ValueError as err:
                self.wrong(key, err)
        return out

    def lists(self, key, parse):
        """A mapping of names to lists of values."""
        out = {}
        for name, values in self.get(key, dict, {}).items():
            if not isinstance(values or [], list):
                self.wrong(f"{key}.{name}", "must be a list")
                values = []
            out[name] = self.parsed(f"{key}.{name}", parse, values or [])
        return out

    def addresses(self, key, required=False, parse=ipaddress.ip_address):
        return self.parsed(key, parse, self.get(key, list, [], required))

    def address(self, key, required=False, parse=ipaddress.ip_address):
        value = self.text(key, None, required=required)
        return next(iter(self.parsed(key, parse, [value] if value else [])), None)

    def close(self):
        for key in self.value:
            if key not in self.asked:
                known = ", ".join(sorted(self.asked))
                self.wrong(key, f"unknown key; there are {known}")


WORD = {str: "text", int: "number", bool: "yes or no", list: "list", dict: "mapping"}


def find(name):
    """The file of a scenario: one of ours by its name, any by its path."""
    file = name if "/" in name or name.endswith(".yaml") else os.path.join(SCENARIOS, name + ".yaml")
    if not os.path.exists(file):
        have = ", ".join(sorted(x[:-5] for x in os.listdir(SCENARIOS) if x.endswith(".yaml")))
        raise Invalid(f"there is no scenario {name}; ours are {have}")
    return file


def title(file):
    return os.path.basename(file).removesuffix(".yaml")


def load(file, name=None):
    import yaml  # here, for it comes with the packages that `install` installs
    with open(file) as f:
        try:
            value = yaml.safe_load(f)
        except yaml.YAMLError as err:
            raise Invalid(f"{file}: {err}") from None
    return parse(value, name or title(file), file)


def active():
    """The scenario that the run directory's cloud was brought up with."""
    if not os.path.exists(path("scenario")):
        raise Failure("no scenario is up")
    return load(path("scenario.yaml"), read(path("scenario")).strip())


def parse(value, name="scenario", file=""):
    from .validation import references  # it speaks of the types above
    mistakes = []
    top = Node(value, "", mistakes)
    out = Scenario(
        name=name, description=top.text("description", required=True),
        vantages=top.each("vantages", vantage, required=True), scanners=top.addresses("scanners"),
        no_route=top.items("no_route", lambda n: (n.text("from", required=True), n.text("to", required=True))),
        providers=top.each("networks", network, required=True),
        projects=top.each("projects", project, required=True), servers=top.each("servers", server, required=True),
        expect=expect(Node(top.get("expect", dict, {}), "expect", mistakes)))
    top.close()
    if not mistakes:  # what refers to nothing can be judged only where all is there
        references(out, mistakes)
    if mistakes:
        raise Invalid("\n".join(f"{file or name}: {m}" for m in mistakes))
    return out


def vantage(name, node):
    edge, own = (node.addresses(key, True, ipaddress.ip_interface) for key in ("edge", "addresses"))
    return Vantage(name, edge, own)


def network(name, node):
    return Network(name, node.each("subnets", subnet, required=True))


def subnet(name, node):
    pool = node.addresses("pool")
    if pool and len(pool) != 2:
        node.wrong("pool", "is a first and a last address")
    return Subnet(name, node.address("cidr", True, ipaddress.ip_network), node.address("gateway"), pool or None)


def project(name, node):
    def user(name, n):
        return User(name, n.text("role", "member"), n.text("email", required=True), n.get("keypairs", dict, {}))

    def volume(name, n):
        return Volume(name, n.text("owner", required=True), n.get("size", int, 1), n.get("snapshots", list, []))

    def router(name, n):
        return Router(name, n.text("network", required=True), n.addresses("addresses", True), n.get("subnets", list, [], True))
    out = Project(name, node.text("description"), node.each("users", user), node.each("networks", network), node.each("routers", router),
                  node.lists("address_groups", ipaddress.ip_network), node.lists("groups", rule), node.each("volumes", volume))
    for owned in out.networks.values():
        owned.project = name
    return out


def rule(text):
    """`tcp/80 from 0.0.0.0/0`, `tcp/1-1024 from group web`, `any from addresses scanners`; raises ValueError."""
    found = RULE.match(str(text))
    if not found:
        raise ValueError(f"{text!r} is no rule; one is like `tcp/80 from 0.0.0.0/0` or `any from group web`")
    low = int(found["low"]) if found["low"] else None
    high = int(found["high"]) if found["high"] else low
    if low is not None and (found["proto"] in ("any", "icmp") or not 1 <= low <= high <= 65535):
        raise ValueError(f"{text!r} has wrong ports")
    if found["proto"] in ("tcp", "udp") and low is None:
        raise ValueError(f"{text!r} names no ports")
    cidr = ipaddress.ip_network(found["cidr"]) if found["cidr"] else None
    return Rule(None if found["proto"] == "any" else found["proto"], low, high, cidr, found["group"], found["addresses"])


def server(name, node):
    def nic(n):
        return NIC(n.text("network", required=True), n.addresses("addresses", True),
                   n.get("groups", list, []), n.get("port_security", bool, True))
    out = Server(name, node.text("project", required=True), node.get("services", list, []),
                 node.items("nics", nic, required=True), node.address("floating"), node.text("firewall"))
    for service in out.services:
        if not re.fullmatch(r"[a-z-]+(:\d{1,5})?", str(service)) or str(service).partition(":")[0] not in daemons.COMMANDS:
            node.wrong("services", f"there is no service {service}; there are {', '.join(sorted(daemons.COMMANDS))}")
    if out.firewall and out.firewall not in daemons.FIREWALLS:
        node.wrong("firewall", f"is one of {', '.join(daemons.FIREWALLS)}")
    return out


def expect(node):
    def view(n):
        opened = {}
        for at, ports in n.get("open", dict, {}, True).items():
            for address in n.parsed("open", ipaddress.ip_address, [at]):
                opened[address] = ports
        return View(n.text("from", required=True), n.address("source"), opened)

    def trial(n):
        found = n.parsed("rule", rule, [n.text("rule", required=True)])
        return Trial(n.text("project", required=True), n.text("group", required=True), found[0] if found else None,
                     n.text("from", required=True), n.address("address", True), n.get("port", int, 0, True))
    out = Expect(node.get("ports", list, []), node.items("seen", view), node.items("enforced", trial))
    node.close()
    return out
