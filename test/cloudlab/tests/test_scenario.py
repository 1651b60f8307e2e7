"""What a scenario's file may say: our own are right, and each mistake is named with its place."""
import copy
import os
import unittest

import yaml

from cloudlab import commands, daemons, population, scenario

SMALL = """
description: One of each
vantages:
  outside: {edge: [198.51.100.1/24], addresses: [198.51.100.10/24]}
networks:
  public: {subnets: {public-v4: {cidr: 203.0.113.0/24, gateway: 203.0.113.1}}}
projects:
  astro:
    users: {alice: {email: alice@astro.example}}
    networks: {astro-net: {subnets: {astro-v4: {cidr: 10.1.0.0/24}}}}
    routers: {astro-router: {network: public, addresses: [203.0.113.11], subnets: [astro-v4]}}
    groups: {web: [tcp/80 from 0.0.0.0/0]}
servers:
  web1:
    project: astro
    services: [web]
    nics: [{network: astro-net, addresses: [10.1.0.11], groups: [web]}]
    floating: 203.0.113.101
expect:
  ports: [22, 80]
  seen: [{from: outside, open: {203.0.113.101: [80]}}]
"""
DELETE = object()


def changed(place, value):
    """The small scenario with one thing in it different."""
    whole = copy.deepcopy(yaml.safe_load(SMALL))
    at = whole
    for key in place[:-1]:
        at = at[key]
    if value is DELETE:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return whole


class Scenarios(unittest.TestCase):
    def test_ours_are_right(self):
        for file in os.listdir(scenario.SCENARIOS):
            with self.subTest(file):
                loaded = scenario.load(scenario.find(scenario.title(file)))
                self.assertTrue(loaded.expect.views, "it says nothing of what is open")

    def test_small_is_right(self):
        found = scenario.parse(yaml.safe_load(SMALL))
        self.assertEqual([str(a) for a in found.reachable()], ["203.0.113.101"])

    def test_mistakes(self):
        server = ("servers", "web1")
        for place, value, said in [
            (("colour",), "red", "colour: unknown key"),
            (("servers", "web1", "image"), "x", "servers.web1.image: unknown key"),
            (("description",), DELETE, "description: is missing"),
            (("servers",), [], "servers: must be a mapping"),
            ((*server, "services"), ["gopher"], "servers.web1.services: there is no service gopher"),
            ((*server, "services"), ["web", "https:80"], "servers.web1.services: two services share a port"),
            ((*server, "firewall"), "paper", "servers.web1.firewall: is one of"),
            ((*server, "project"), "chess", "servers.web1.project: there is no project chess"),
            ((*server, "floating"), "192.0.2.1", "servers.web1.floating: 192.0.2.1 is outside 203.0.113.0/24"),
            ((*server, "floating"), "203.0.113.11", "servers.web1.floating: 203.0.113.11 is held by projects.astro.routers.astro-router.addresses"),
            ((*server, "floating"), "nonsense", "servers.web1.floating: 'nonsense' does not appear to be"),
            ((*server, "nics", 0, "addresses"), ["10.9.0.1"], "servers.web1.nics[0].addresses: 10.9.0.1 is outside 10.1.0.0/24"),
            ((*server, "nics", 0, "network"), "moon", "servers.web1.nics[0].network: there is no network"),
            ((*server, "nics", 0, "groups"), ["wep"], "servers.web1.nics[0].groups: there is no group wep; there are web"),
            ((*server, "nics", 0, "port_security"), False, "servers.web1.nics[0]: without port security"),
            ((*server, "nics", 0, "port_security"), "no", "servers.web1.nics[0].port_security: must be a yes or no"),
            (("projects", "astro", "groups", "web"), ["tcp/80 of all"], "projects.astro.groups.web: 'tcp/80 of all' is no rule"),
            (("projects", "astro", "groups", "web"), ["tcp/90-80 from 0.0.0.0/0"], "has wrong ports"),
            (("projects", "astro", "groups", "web"), ["tcp from 0.0.0.0/0"], "names no ports"),
            (("projects", "astro", "groups", "web"), ["tcp/80 from group db"], "projects.astro.groups.web: there is no group db"),
            (("projects", "astro", "groups", "web"), ["any from addresses x"], "there is no address group x"),
            (("projects", "astro", "routers", "astro-router", "network"), "astro-net", "there is no provider network astro-net"),
            (("projects", "astro", "routers", "astro-router", "subnets"), ["v9"], "there is no subnet v9"),
            (("projects", "astro", "users", "alice", "email"), DELETE, "projects.astro.users.alice.email: is missing"),
            (("projects", "security"), {}, "projects.security: the account name is taken"),
            (("projects", "astro", "volumes"), {"data": {"owner": "zoe"}}, "there is no user zoe"),
            (("networks", "public", "subnets", "public-v4", "gateway"), DELETE, "gateway: is missing"),
            (("networks", "public", "subnets", "public-v4", "pool"), ["203.0.113.9"], "pool: is a first and a last address"),
            (("networks", "a-very-long-name"), {"subnets": {"x": {"cidr": "192.0.2.0/24", "gateway": "192.0.2.1"}}}, "more than 12 characters"),
            (("vantages", "outside", "edge"), ["192.0.2.1/24"], "vantages.outside.addresses: 198.51.100.10/24 is outside"),
            (("scanners",), ["192.0.2.1"], "scanners: there is no vantage point's address 192.0.2.1"),
            (("no_route",), [{"from": "outside", "to": "moon"}], "no_route[0]: there is no vantage point or provider network moon"),
            (("expect", "seen", 0, "from"), "moon", "expect.seen[0].from: there is no vantage point moon"),
            (("expect", "seen", 0, "open"), {"10.1.0.11": [80]}, "expect.seen[0].open: there is no reachable address 10.1.0.11"),
            (("expect", "seen", 0, "open"), {"203.0.113.101": [81]}, "there is no port in expect.ports 81"),
        ]:
            with self.subTest(said):
                with self.assertRaises(scenario.Invalid) as caught:
                    scenario.parse(changed(place, value))
                self.assertIn(said, str(caught.exception))

    def test_all_mistakes_at_once(self):
        whole = changed(("servers", "web1", "image"), "x")
        whole["colour"] = "red"
        with self.assertRaises(scenario.Invalid) as caught:
            scenario.parse(whole)
        self.assertEqual(len(str(caught.exception).splitlines()), 2)

    def test_not_a_mapping(self):
        with self.assertRaises(scenario.Invalid):
            scenario.parse(["a", "list"])

    def test_no_such_scenario(self):
        with self.assertRaisesRegex(scenario.Invalid, "ours are campus, .*lone"):
            scenario.find("moon")


class Rules(unittest.TestCase):
    def body(self, text):
        return population.rule_bodies(scenario.rule(text), lambda name: "id of " + name, lambda name: "id of " + name)

    def test_prefix(self):
        [body] = self.body("tcp/8000-8010 from 2001:db8::/32")
        self.assertEqual(body, {"direction": "ingress", "protocol": "tcp", "port_range_min": 8000, "port_range_max": 8010,
                                "ethertype": "IPv6", "remote_ip_prefix": "2001:db8::/32"})

    def test_group_is_of_both_families(self):
        self.assertEqual([(b["ethertype"], b["remote_group_id"], b["protocol"]) for b in self.body("any from group web")],
                         [("IPv4", "id of web", None), ("IPv6", "id of web", None)])

    def test_addresses(self):
        self.assertEqual({b["remote_address_group_id"] for b in self.body("udp/53 from addresses dns")}, {"id of dns"})


class Services(unittest.TestCase):
    def test_each_has_a_port_and_a_command(self):
        self.assertEqual(set(daemons.USUAL_PORT), set(daemons.COMMANDS))
        self.assertEqual(daemons.split("web:8080"), ("web", 8080))

    def test_a_guest_without_firewall_has_no_rules(self):
        self.assertEqual(daemons.firewall("", ["ssh"], []), "")


class Commands(unittest.TestCase):
    def test_every_verb_is_described(self):
        for verb in commands.VERBS:
            self.assertTrue(verb.startswith("_") or f"testbed {verb} " in commands.__doc__, verb)


if __name__ == "__main__":
    unittest.main()
