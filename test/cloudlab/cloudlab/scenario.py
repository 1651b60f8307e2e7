"""A scenario: what a cloud holds and what lies around it, read from a YAML file and checked before anything starts.

The format is described in README.md.
"""
import ipaddress
import os
import re

from . import daemons
from .document import Node
from .model import (NIC, OF_IPV6, PORTED, PROTOCOLS, Expect, Forward, Group, Network, Project, Router, Rule, Scenario, Server, Service, Subnet, Trial, User, Vantage,
                    View, Volume)
from .settings import SCENARIOS, Failure, path, read
from .validation import references

RULE = re.compile(r"(?:(?P<egress>egress) )?(?P<proto>[a-z0-9-]+)(?:/(?P<low>\d+)(?:-(?P<high>\d+))?)? (?P<word>from|to) "
                  r"(?:group (?P<group>\S+)|addresses (?P<addresses>\S+)|(?P<any>any(?:-ipv[46])?)|(?P<cidr>\S+))$")
FAMILIES = {"any-ipv4": (4,), "any-ipv6": (6,)}
FORWARD = re.compile(r"(?P<proto>tcp|udp) (?P<floating>[0-9.]+):(?P<outer>\d{1,5}) to (?P<fixed>[0-9.]+):(?P<inner>\d{1,5})$")


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
        services=top.each("services", service),
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
        return User(name, n.text("role", "member"), n.text("email", required=True), n.get("keypairs", dict, {}), n.get("enabled", bool, True))

    def volume(name, n):
        return Volume(name, n.text("owner", required=True), n.get("size", int, 1), n.get("snapshots", list, []))

    def router(name, n):
        return Router(name, n.text("network", required=True), n.addresses("addresses", True), n.get("subnets", list, [], True))
    out = Project(name, title_of(node, name, 64, "Keystone"), node.text("description"), node.each("users", user), node.each("networks", network), node.each("routers", router),
                  node.lists("address_groups", ipaddress.ip_network), groups(node), node.each("volumes", volume))
    for owned in out.networks.values():
        owned.project = name
    return out


def title_of(node, key, longest=255, trimmed_by=""):
    """The name in the cloud, which may be whatever the cloud allows; by default the key."""
    found = node.text("name", key)
    if trimmed_by and found != found.strip():
        node.wrong("name", f"begins or ends with a space, which {trimmed_by} does not keep")
    if any(ord(c) > 0xffff for c in found):
        node.wrong("name", "a character beyond U+FFFF, which the test cloud's databases do not hold")
    if not found.strip() or not found.isprintable():
        node.wrong("name", "must be printable, with a character that is no space")
    if len(found) > longest:
        node.wrong("name", f"has more than {longest} characters")
    return found


def groups(node):
    """A group is a list of rules, or a mapping that holds them with what else there is to say of the group."""
    def group(name, n):
        rules = n.parsed("rules", rule, n.get("rules", list, []))
        title = title_of(n, name)
        if title.lower() == "default":
            n.wrong("name", "Neutron reserves this name for the group that each project has")
        return Group(name, title, rules, n.get("stateful", bool, True), n.get("default_egress", bool, True), n.get("shared_with", list, []))
    out = {}
    for name, value in node.get("groups", dict, {}).items():
        place = f"{node.place}.groups.{name}"
        if isinstance(value, dict):
            child = Node(value, place, node.mistakes)
            out[name] = group(str(name), child)
            child.close()
        elif isinstance(value or [], list):
            out[name] = Group(str(name), str(name), node.parsed(f"groups.{name}", rule, value or []))
        else:
            node.wrong(f"groups.{name}", "must be a list of rules or a mapping")
    return out


def service(name, node):
    out = Service(name, node.get("port", int, 0, required=True), node.get("command", list, []), node.text("greeting"), node.text("answer"))
    if "port" in node.value and not 1 <= out.port <= 65535:
        node.wrong("port", "must be 1 to 65535")
    if name in daemons.COMMANDS:
        node.wrong("", "is a service of the test cloud; choose another name")
    if bool(out.command) == bool(out.greeting or out.answer):
        node.wrong("", "needs either command or greeting or answer")
    if not all(isinstance(word, str) for word in out.command):
        node.wrong("command", "must be a list of texts")
    for key, text in (("greeting", out.greeting), ("answer", out.answer)):
        if any(ord(c) > 255 for c in text):
            node.wrong(key, "a character beyond \\xff is no single byte")
    return out


def rule(text):
    """`tcp/80 from 0.0.0.0/0`, `tcp from any`, `any from addresses scanners`, `egress 47 to 192.0.2.0/24`; raises ValueError."""
    found = RULE.match(str(text))
    if not found or (found["word"] == "to") != bool(found["egress"]):
        raise ValueError(f"{text!r} is no rule; one is like `tcp/80 from 0.0.0.0/0` or `any from group web`")
    protocol = None if found["proto"] == "any" else found["proto"]
    number = PROTOCOLS.get(protocol, int(protocol) if protocol and protocol.isdecimal() else None)
    if protocol and (number is None or number > 255):
        raise ValueError(f"{text!r} has a wrong protocol: it is any, a number below 256 or one of {', '.join(sorted(PROTOCOLS))}")
    low = int(found["low"]) if found["low"] else None
    high = int(found["high"]) if found["high"] else low
    if low is not None and (number not in PORTED or not 1 <= low <= high <= 65535):
        raise ValueError(f"{text!r} has wrong ports")
    cidr = ipaddress.ip_network(found["cidr"]) if found["cidr"] else None
    families = FAMILIES.get(found["any"], (4, 6))
    if number in OF_IPV6:
        if cidr and cidr.version == 4 or families == (4,):
            raise ValueError(f"{text!r} has a protocol of IPv6 alone")
        families = (6,)
    return Rule(protocol, low, high, cidr, found["group"], found["addresses"], "egress" if found["egress"] else "ingress", families)


def forward(text):
    """`tcp 203.0.113.9:6380 to 10.1.0.11:6379`; raises ValueError."""
    found = FORWARD.match(str(text))
    if not found:
        raise ValueError(f"{text!r} is no forwarding; one is like `tcp 203.0.113.9:6380 to 10.1.0.11:6379`")
    outer, inner = int(found["outer"]), int(found["inner"])
    if not (1 <= outer <= 65535 and 1 <= inner <= 65535):
        raise ValueError(f"{text!r} has wrong ports")
    return Forward(found["proto"], ipaddress.ip_address(found["floating"]), outer, ipaddress.ip_address(found["fixed"]), inner)


def floating_of_nic(node):
    """A NIC's floating IPs, each with the fixed IP that it leads to."""
    out = {}
    for floating, fixed in node.get("floating", dict, {}).items():
        ends = node.parsed("floating", ipaddress.ip_address, [floating, fixed])
        if len(ends) == 2:
            out[ends[0]] = ends[1]
    return out


def server(name, node):
    def nic(n):
        return NIC(n.text("network", required=True), n.addresses("addresses", True),
                   n.get("groups", list, []), n.get("port_security", bool, True), floating_of_nic(n),
                   n.parsed("forwards", forward, n.get("forwards", list, [])))
    out = Server(name, title_of(node, name, trimmed_by="Nova"), node.text("project", required=True), node.get("services", list, []),
                 node.items("nics", nic, required=True), node.address("floating"), node.text("firewall"),
                 node.get("powered_off", bool, False))
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
