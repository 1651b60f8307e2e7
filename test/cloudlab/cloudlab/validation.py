"""Whether a scenario's parts fit together: every name refers to something, every address lies where it should and is held once."""
import re
from collections.abc import Hashable

from . import daemons
from .document import NAME
from .model import Rule
from .wiring import Wiring

# Names that are taken: accounts and projects of the cloud itself and of the product, and our own namespaces.
RESERVED = {"admin", "service", "security", "edge", "fabric", "auditor", "enforcer", "reader", "demarc"}
DEFAULT_EGRESS = Rule(direction="egress")
LINK = 12  # a provider network and a vantage point are links and bridges too, whose names are short


def references(scenario, mistakes):
    check = Check(scenario, mistakes)
    check.names()
    check.world()
    for project in scenario.projects.values():
        check.project(project)
    for server in scenario.servers.values():
        check.server(server)
    check.expectations()


class Check:
    def __init__(self, scenario, mistakes):
        self.scenario, self.mistakes, self.holders = scenario, mistakes, {}
        self.wiring = Wiring(scenario, self.wrong)

    def wrong(self, place, text):
        self.mistakes.append(f"{place}: {text}")

    def refers(self, place, name, known, what):
        found = isinstance(name, Hashable) and name in known  # a YAML list or mapping is no name
        if not found:
            self.wrong(place, f"there is no {what} {name}; there are {', '.join(sorted(map(str, known))) or 'none'}")
        return found

    def holds(self, place, address, subnets):
        """An address lies in one of these subnets, and nobody else has it."""
        if not any(address in s.cidr for s in subnets):
            self.wrong(place, f"{address} is outside {', '.join(str(s.cidr) for s in subnets) or 'every subnet'}")
        before = self.holders.setdefault(address, place)
        if before != place:
            self.wrong(place, f"{address} is held by {before} already")

    def names(self):
        """Names that must be different because they share one space: namespaces and links, users, networks, subnets."""
        s = self.scenario
        providers = [("networks", name) for name in s.providers]
        spaces = {"link": [("vantages", name) for name in s.vantages] + providers,
                  "account": [("projects", name) for name in s.projects] + [(f"projects.{p.name}.users", u) for p in s.projects.values() for u in p.users],
                  "network": providers + [(f"projects.{p.name}.networks", n) for p in s.projects.values() for n in p.networks]}
        for what, found in spaces.items():
            seen = set()
            for place, name in found:
                if name in seen or name in RESERVED:
                    self.wrong(f"{place}.{name}", f"the {what} name is taken")
                if what == "link" and len(name) > LINK:
                    self.wrong(f"{place}.{name}", f"the name has more than {LINK} characters")
                seen.add(name)

        titles = set()
        for project in s.projects.values():
            title = project.title.casefold()  # as Keystone's database compares them
            if title in titles or title in RESERVED:
                self.wrong(f"projects.{project.name}.name", "the account name is taken")
            titles.add(title)

    def world(self):
        s = self.scenario
        for vantage in s.vantages.values():
            place = f"vantages.{vantage.name}"
            families = {a.version for a in vantage.addresses}
            if families != {e.version for e in vantage.edge} or len(vantage.edge) != len(families):
                self.wrong(place + ".edge", "needs one address for each family of the vantage point's addresses")
            for a in vantage.addresses:
                if not any(a.ip in e.network for e in vantage.edge):
                    self.wrong(place + ".addresses", f"{a} is outside the edge's network")
        if len(s.vantages) > 10:
            self.wrong("vantages", "at most 10")
        have = {a.ip for v in s.vantages.values() for a in v.addresses}
        for scanner in s.scanners:
            self.refers("scanners", scanner, have, "vantage point's address")
        for number, ends in enumerate(s.no_route):
            for end in ends:
                self.refers(f"no_route[{number}]", end, {*s.vantages, *s.providers}, "vantage point or provider network")
        for network in s.providers.values():
            self.subnets(f"networks.{network.name}", network)
            for subnet in network.subnets.values():
                if not subnet.gateway:
                    self.wrong(f"networks.{network.name}.subnets.{subnet.name}.gateway", "is missing: it is the edge's address")

    def subnets(self, place, network):
        for subnet in network.subnets.values():
            where = f"{place}.subnets.{subnet.name}"
            if subnet.gateway:
                self.holds(where + ".gateway", subnet.gateway, [subnet])
            for end in subnet.pool or []:
                if end not in subnet.cidr:
                    self.wrong(where + ".pool", f"{end} is outside {subnet.cidr}")

    def project(self, project):
        place = f"projects.{project.name}"
        for network in project.networks.values():
            self.subnets(f"{place}.networks.{network.name}", network)
        own = {s.name for n in project.networks.values() for s in n.subnets.values()}
        for router in project.routers.values():
            where = f"{place}.routers.{router.name}"
            for name in router.subnets:
                self.refers(where + ".subnets", name, own, "subnet")
            if self.refers(where + ".network", router.network, self.scenario.providers, "provider network"):
                for address in router.addresses:
                    self.holds(where + ".addresses", address, self.scenario.providers[router.network].subnets.values())
        for key, group in project.groups.items():
            if not NAME.match(key):
                self.wrong(f"{place}.groups.{key}", "a name is lower-case letters, digits and hyphens")
            for other in group.shared_with:
                self.refers(f"{place}.groups.{key}.shared_with", other, self.scenario.projects, "project")
            self.rules(f"{place}.groups.{key}", project, group)
        for volume in project.volumes.values():
            self.refers(f"{place}.volumes.{volume.name}.owner", volume.owner, project.users, "user")

    def rules(self, place, project, group):
        """A rule refers to what there is, and is no other once more: Neutron refuses that."""
        seen = {key: None for key in DEFAULT_EGRESS.keys()} if group.default_egress else {}
        for number, rule in enumerate(group.rules, 1):
            before = {seen.get(key, number) for key in rule.keys()} - {number}
            if None in before:
                self.wrong(place, f"rule {number} is one of the default egress rules, which Neutron adds unless default_egress is false")
            elif before:
                self.wrong(place, f"rules {min(before)} and {number} are the same to Neutron")
            seen |= {key: number for key in rule.keys()}
            if rule.group:
                self.refers_group(place, project, rule.group)
            if rule.addresses:
                self.refers(place, rule.addresses, project.address_groups, "address group")

    def refers_group(self, place, project, name):
        """A group of the project's own, or PROJECT/GROUP of another that shares it."""
        if not self.scenario.group(project.name, str(name)):
            self.refers(place, name, project.groups, "group")

    def groups(self, where, project, nic):
        for name in nic.groups:
            self.refers_group(where, project, name)
        found = [self.scenario.group(project.name, str(name)) for name in nic.groups]
        if len({group.stateful for group in found if group}) > 1:
            self.wrong(where, "stateful and stateless groups on one NIC, which Neutron refuses")

    def server(self, server):
        place = f"servers.{server.name}"
        if not self.refers(place + ".project", server.project, self.scenario.projects, "project"):
            return
        project = self.scenario.projects[server.project]
        open_to_it = {**self.scenario.providers, **project.networks}
        for number, nic in enumerate(server.nics):
            where = f"{place}.nics[{number}]"
            if self.refers(where + ".network", nic.network, open_to_it, "network of the provider's or the project's"):
                for address in nic.addresses:
                    self.holds(where + ".addresses", address, open_to_it[nic.network].subnets.values())
            self.groups(where + ".groups", project, nic)
            if nic.groups and not nic.port_security:
                self.wrong(where, "without port security a port has no groups")
            self.floating(where, project, nic)
        if server.floating:
            self.holds(place + ".floating", server.floating, self.outside(project))
            self.wiring.first(place, project, server)
        self.wiring.server(place, project, server)
        self.services(place, server)

    def outside(self, project):
        """The subnets that a project's routers have their gateway in."""
        names = [r.network for r in project.routers.values() if r.network in self.scenario.providers]
        return [s for name in names for s in self.scenario.providers[name].subnets.values()]

    def floating(self, where, project, nic):
        for floating, fixed in nic.floating.items():
            self.holds(where + ".floating", floating, self.outside(project))
            self.refers(where + ".floating", fixed, nic.addresses, "address of that NIC")
        for forward in nic.forwards:
            # Several NICs of a project may share one floating IP by its ports.
            self.holds(f"{project.name}'s forwardings", forward.floating, self.outside(project))
            self.refers(where + ".forwards", forward.fixed, nic.addresses, "address of that NIC")

    def services(self, place, server):
        known = {*daemons.COMMANDS, *self.scenario.services}
        wrong = [s for s in server.services if not re.fullmatch(r"[a-z][a-z0-9-]*(:\d{1,5})?", str(s)) or s.partition(":")[0] not in known]
        for service in wrong:
            self.refers(place + ".services", str(service), known, "service")
        ports = [daemons.split(service, self.scenario.services) for service in server.services if service not in wrong]
        for kind, port in ports:
            if not 1 <= port <= 65535:
                self.wrong(place + ".services", f"{kind}:{port} has a wrong port")
        if len({port for _, port in ports}) != len(ports):
            self.wrong(place + ".services", "two services share a port")

    def expectations(self):
        s = self.scenario
        reachable = set(s.reachable())
        for number, view in enumerate(s.expect.views):
            place = f"expect.seen[{number}]"
            if self.refers(place + ".from", view.vantage, s.vantages, "vantage point") and view.source:
                self.refers(place + ".source", view.source, {a.ip for a in s.vantages[view.vantage].addresses}, "address of that vantage point")
            for address, ports in view.open.items():
                self.refers(place + ".open", address, reachable, "reachable address")
                for port in ports:
                    self.refers(f"{place}.open.{address}", port, s.expect.ports, "port in expect.ports")
        for number, trial in enumerate(s.expect.trials):
            place = f"expect.enforced[{number}]"
            self.refers(place + ".from", trial.vantage, s.vantages, "vantage point")
            self.refers(place + ".address", trial.address, reachable, "reachable address")
            if self.refers(place + ".project", trial.project, s.projects, "project"):
                self.refers(place + ".group", trial.group, s.projects[trial.project].groups, "group")
            if not trial.rule.cidr:
                self.wrong(place + ".rule", "must name a prefix")
