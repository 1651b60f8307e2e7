"""Whether Neutron takes a scenario's floating IPs and forwardings: what it refuses ends an `up` half-way, minutes later."""


class Wiring:
    """What leads to the servers so far. `wrong` is told a place and a mistake."""

    def __init__(self, scenario, wrong):
        self.scenario, self.wrong = scenario, wrong
        self.led, self.forwarded, self.router_of = set(), set(), {}

    def server(self, place, project, server):
        for number, nic in enumerate(server.nics):
            where = f"{place}.nics[{number}]"
            for floating, fixed in nic.floating.items():
                self.leads(where + ".floating", project, nic, floating, fixed)
            for forward in nic.forwards:
                self.forward(where + ".forwards", project, nic, forward)
            if nic.forwards and (nic.floating or server.floating and number == 0):
                self.wrong(where + ".forwards", "a NIC with a floating IP of its own forwards nothing")

    def first(self, place, project, server):
        """The floating IP of the server as a whole: before those of its NICs."""
        if not server.first_ipv4():
            return self.wrong(place + ".floating", "the first NIC has no IPv4 address")
        self.leads(place + ".floating", project, server.nics[0], server.floating, server.first_ipv4())

    def leads(self, where, project, nic, floating, fixed):
        self.router(where, project, nic, floating, fixed)
        if (nic.network, fixed) in self.led:
            self.wrong(where, f"{fixed} has a floating IP already")
        self.led.add((nic.network, fixed))

    def forward(self, where, project, nic, forward):
        """Several NICs may share one floating IP by its ports: one router does it."""
        router = self.router(where, project, nic, forward.floating, forward.fixed)
        before = self.router_of.setdefault(forward.floating, router)
        if router and before and router != before:
            self.wrong(where, f"{forward.floating} is forwarded by the router {before}, and this address lies behind {router}")
        end = (forward.protocol, forward.floating, forward.outer)
        if end in self.forwarded:
            self.wrong(where, f"{forward.protocol} {forward.floating}:{forward.outer} is forwarded already")
        self.forwarded.add(end)

    def router(self, where, project, nic, floating, fixed):
        """The name of the router between a floating IP's network and a fixed IP's subnet. Both are of IPv4."""
        inside = project.networks.get(nic.network)
        for router in project.routers.values():
            outside = self.scenario.providers.get(router.network)
            if (inside and outside and floating.version == fixed.version == 4 and any(floating in s.cidr for s in outside.subnets.values())
                    and any(fixed in s.cidr for s in inside.subnets.values() if s.name in router.subnets)):
                return router.name
        self.wrong(where, f"no router of the project joins {fixed} with the network of {floating}")
