"""A scenario: what a cloud holds and what lies around it, read from a YAML file and checked before anything starts.

The format is described in README.md.
"""
import ipaddress
import os
import re

from . import daemons
from .document import Node
from .model import NIC, Expect, Network, Project, Router, Rule, Scenario, Server, Subnet, Trial, User, Vantage, View, Volume
from .settings import SCENARIOS, Failure, path, read
from .validation import references

RULE = re.compile(r"(?P<proto>any|icmp|tcp|udp)(?:/(?P<low>\d+)(?:-(?P<high>\d+))?)? from "
                  r"(?:group (?P<group>\S+)|addresses (?P<addresses>\S+)|(?P<cidr>\S+))$")


class Invalid(Failure):
    """The file's mistakes, one per line."""


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
