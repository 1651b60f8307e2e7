"""What a scenario's file may say: our own are right, and each mistake is named with its place."""
import asyncio
import copy
import os
import unittest
import unittest.mock

import yaml

from cloudlab import accounts, commands, daemons, hosts, listeners, model, population, scenario

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
            (("projects", "astro", "groups", "web"), ["gre/80 from any"], "projects.astro.groups.web: 'gre/80 from any' has wrong ports"),
            (("projects", "astro", "groups", "web"), ["256 from any"], "'256 from any' has a wrong protocol"),
            (("projects", "astro", "groups", "web"), ["carrier from any"], "'carrier from any' has a wrong protocol"),
            (("projects", "astro", "groups", "web"), ["tcp/80 to any"], "'tcp/80 to any' is no rule"),
            (("projects", "astro", "groups", "web"), {"rules": [], "colour": "red"}, "projects.astro.groups.web.colour: unknown key"),
            (("projects", "astro", "groups", "web"), {"rules": [], "stateful": "no"}, "projects.astro.groups.web.stateful: must be a yes or no"),
            (("projects", "astro", "groups", "web"), {"rules": [], "shared_with": ["chess"]}, "projects.astro.groups.web.shared_with: there is no project chess"),
            (("projects", "astro", "groups", "web"), {"rules": [], "name": "default"}, "projects.astro.groups.web.name: Neutron reserves"),
            (("projects", "astro", "groups", "web"), {"rules": [], "name": "a\nb"}, "projects.astro.groups.web.name: must be printable"),
            (("projects", "astro", "name"), "x" * 65, "projects.astro.name: has more than 64 characters"),
            (("projects", "astro", "name"), "admin", "projects.astro.name: the account name is taken"),
            ((*server, "name"), " web", "servers.web1.name: begins or ends with a space"),
            ((*server, "powered_off"), "no", "servers.web1.powered_off: must be a yes or no"),
            ((*server, "nics", 0, "groups"), ["chess/web"], "servers.web1.nics[0].groups: there is no group chess/web"),
            ((*server, "nics", 0, "floating"), {"203.0.113.101": "10.1.0.11"}, "servers.web1.floating: 203.0.113.101 is held by servers.web1.nics[0].floating"),
            ((*server, "nics", 0, "floating"), {"203.0.113.102": "10.1.0.12"}, "servers.web1.nics[0].floating: there is no address of that NIC 10.1.0.12"),
            ((*server, "nics", 0, "forwards"), ["203.0.113.102"], "servers.web1.nics[0].forwards: '203.0.113.102' is no forwarding"),
            ((*server, "nics", 0, "forwards"), ["tcp 203.0.113.101:81 to 10.1.0.11:80"], "203.0.113.101 is held by"),
            ((*server, "nics", 0, "forwards"), ["tcp 203.0.113.102:81 to 10.1.0.11:80", "tcp 203.0.113.102:81 to 10.1.0.11:22"],
             "servers.web1.nics[0].forwards: tcp 203.0.113.102:81 is forwarded already"),
            ((*server, "nics", 0, "forwards"), ["tcp 203.0.113.102:81 to 10.1.0.12:80"], "there is no address of that NIC 10.1.0.12"),
            (("services",), {"web": {"port": 1, "greeting": "x"}}, "services.web: is a service of the test cloud"),
            (("services",), {"odd": {"greeting": "x"}}, "services.odd.port: is missing"),
            (("services",), {"odd": {"port": 70000, "greeting": "x"}}, "services.odd.port: must be 1 to 65535"),
            (("services",), {"odd": {"port": 7000}}, "services.odd: needs either command or greeting or answer"),
            (("services",), {"odd": {"port": 7000, "command": ["nc"], "answer": "x"}}, "services.odd: needs either command or greeting or answer"),
            (("services",), {"odd": {"port": 7000, "command": ["nc", 1]}}, "services.odd.command: must be a list of texts"),
            (("services",), {"odd": {"port": 7000, "greeting": "\u2603"}}, "services.odd.greeting: a character beyond"),
            ((*server, "services"), [{"web": 8080}], "servers.web1.services: there is no service {'web': 8080}"),
            ((*server, "services"), ["web:65536"], "servers.web1.services: web:65536 has a wrong port"),
            ((*server, "nics", 0, "groups"), [["web"]], "servers.web1.nics[0].groups: there is no group ['web']"),
            ((*server, "name"), "\U0001f600", "servers.web1.name: a character beyond U+FFFF"),
            (("projects", "astro", "name"), "astro ", "projects.astro.name: begins or ends with a space"),
            (("projects", "astro", "name"), "Admin", "projects.astro.name: the account name is taken"),
            (("projects", "astro", "groups", "web"), ["ipv6-icmp from 0.0.0.0/0"], "'ipv6-icmp from 0.0.0.0/0' has a protocol of IPv6 alone"),
            (("projects", "astro", "groups", "web"), ["58 from any-ipv4"], "'58 from any-ipv4' has a protocol of IPv6 alone"),
            (("projects", "astro", "groups", "web"), ["tcp from any", "tcp/1-65535 from 0.0.0.0/0"], "projects.astro.groups.web: rules 1 and 2 are the same to Neutron"),
            (("projects", "astro", "groups", "web"), ["6/80 from any", "tcp/80 from ::/0"], "projects.astro.groups.web: rules 1 and 2 are the same to Neutron"),
            (("projects", "astro", "groups", "web"), ["1 from ::/0", "icmpv6 from any"], "projects.astro.groups.web: rules 1 and 2 are the same to Neutron"),
            (("projects", "astro", "groups", "web"), ["egress any to ::/0"], "projects.astro.groups.web: rule 1 is one of the default egress rules"),
            (("projects", "astro", "users", "alice", "enabled"), "no", "projects.astro.users.alice.enabled: must be a yes or no"),
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

    def test_whatever_the_cloud_allows_is_a_name(self):
        whole = changed(("servers", "web1", "name"), "-rf 'ü\" 雪")
        whole["projects"]["astro"]["name"] = "Astro & \"Söhne\": #1"
        found = scenario.parse(whole)
        self.assertEqual(found.servers["web1"].title, "-rf 'ü\" 雪")
        self.assertEqual(found.projects["astro"].title, "Astro & \"Söhne\": #1")
        entry = yaml.safe_load("clouds:\n" + accounts.entry("alice", "alice", found.projects["astro"].title))
        self.assertEqual(entry["clouds"]["alice"]["auth"]["project_name"], "Astro & \"Söhne\": #1")

    def test_floating_ips_of_a_fixed_ip(self):
        whole = changed(("servers", "web1", "nics", 0, "addresses"), ["10.1.0.11", "10.1.0.12"])
        whole["servers"]["web1"]["nics"][0]["floating"] = {"203.0.113.102": "10.1.0.12"}
        whole["servers"]["web2"] = {"project": "astro", "nics": [{"network": "astro-net", "addresses": ["10.1.0.13"],
                                                                  "forwards": ["tcp 203.0.113.103:6380 to 10.1.0.13:6379"]}]}
        found = scenario.parse(whole)
        self.assertEqual([(str(f), str(fixed)) for f, fixed in found.servers["web1"].nics[0].floating.items()], [("203.0.113.102", "10.1.0.12")])
        self.assertEqual([str(a) for a in found.reachable()], ["203.0.113.101", "203.0.113.102", "203.0.113.103"])
        forward = found.servers["web2"].nics[0].forwards[0]
        self.assertEqual(population.forwarding_body(forward, "id of port"), {
            "protocol": "tcp", "external_port": 6380, "internal_port": 6379, "internal_ip_address": "10.1.0.13", "internal_port_id": "id of port"})

    def test_two_nics_forward_one_floating_ip(self):
        whole = changed(("servers", "web1", "floating"), DELETE)
        whole["servers"]["web1"]["nics"][0]["forwards"] = ["tcp 203.0.113.103:80 to 10.1.0.11:80"]
        whole["expect"]["seen"] = []
        whole["servers"]["web2"] = {"project": "astro", "nics": [{"network": "astro-net", "addresses": ["10.1.0.12"],
                                                                  "forwards": ["udp 203.0.113.103:80 to 10.1.0.12:80"]}]}
        self.assertEqual([str(a) for a in scenario.parse(whole).reachable()], ["203.0.113.103"])

    def refused(self, whole, said):
        with self.assertRaises(scenario.Invalid) as caught:
            scenario.parse(whole)
        self.assertIn(said, str(caught.exception))

    def test_a_nic_with_a_floating_ip_forwards_nothing(self):
        self.refused(changed(("servers", "web1", "nics", 0, "forwards"), ["tcp 203.0.113.103:80 to 10.1.0.11:80"]),
                     "servers.web1.nics[0].forwards: a NIC with a floating IP of its own forwards nothing")

    def test_a_fixed_ip_has_one_floating_ip(self):
        self.refused(changed(("servers", "web1", "nics", 0, "floating"), {"203.0.113.102": "10.1.0.11"}),
                     "servers.web1.nics[0].floating: 10.1.0.11 has a floating IP already")

    def test_a_floating_ip_leads_to_ipv4(self):
        whole = changed(("projects", "astro", "networks", "astro-net", "subnets", "astro-v6"), {"cidr": "2001:db8:a1::/64"})
        whole["servers"]["web1"]["nics"][0]["addresses"] = ["2001:db8:a1::11"]
        self.refused(whole, "servers.web1.floating: the first NIC has no IPv4 address")
        whole["servers"]["web1"]["nics"][0]["floating"] = {"203.0.113.102": "2001:db8:a1::11"}
        self.refused(whole, "servers.web1.nics[0].floating: no router of the project joins 2001:db8:a1::11 with the network of 203.0.113.102")

    def test_a_router_lies_between_floating_and_fixed_ip(self):
        whole = changed(("projects", "astro", "routers", "astro-router", "subnets"), [])
        self.refused(whole, "servers.web1.floating: no router of the project joins 10.1.0.11 with the network of 203.0.113.101")

    def test_the_forwardings_of_a_floating_ip_share_a_router(self):
        whole = changed(("projects", "astro", "networks", "data"), {"subnets": {"data-v4": {"cidr": "10.2.0.0/24"}}})
        whole["projects"]["astro"]["routers"]["second"] = {"network": "public", "addresses": ["203.0.113.12"], "subnets": ["data-v4"]}
        for name, network, address in (("a", "astro-net", "10.1.0.21"), ("b", "data", "10.2.0.21")):
            whole["servers"][name] = {"project": "astro", "nics": [{"network": network, "addresses": [address],
                                                                    "forwards": [f"tcp 203.0.113.103:{len(whole['servers'])} to {address}:80"]}]}
        self.refused(whole, "servers.b.nics[0].forwards: 203.0.113.103 is forwarded by the router astro-router, and this address lies behind second")

    def test_a_port_is_stateful_or_stateless(self):
        whole = changed(("projects", "astro", "groups", "less"), {"stateful": False})
        whole["servers"]["web1"]["nics"][0]["groups"] = ["web", "less"]
        self.refused(whole, "servers.web1.nics[0].groups: stateful and stateless groups on one NIC, which Neutron refuses")

    def test_the_floating_ip_of_a_server_leads_to_the_first_ipv4_address(self):
        whole = changed(("servers", "web1", "nics", 0, "addresses"), ["10.1.0.12", "10.1.0.11"])
        self.assertEqual(str(scenario.parse(whole).servers["web1"].first_ipv4()), "10.1.0.12")

    def test_a_group_that_a_mapping_names_by_no_text(self):
        self.refused(changed(("projects", "astro", "groups", "web"), {"shared_with": [{"a": 1}]}),
                     "projects.astro.groups.web.shared_with: there is no project {'a': 1}")

    def test_a_shared_group(self):
        whole = changed(("projects", "astro", "groups", "web"), {"rules": ["tcp from any"], "shared_with": ["bio"]})
        whole["projects"]["bio"] = {"networks": {"bio-net": {"subnets": {"bio-v4": {"cidr": "10.2.0.0/24"}}}},
                                    "groups": {"more": ["any from group astro/web"]}}
        whole["servers"]["bio1"] = {"project": "bio", "nics": [{"network": "bio-net", "addresses": ["10.2.0.11"], "groups": ["astro/web"]}]}
        self.assertEqual(scenario.parse(whole).projects["astro"].groups["web"].shared_with, ["bio"])
        del whole["projects"]["astro"]["groups"]["web"]["shared_with"]
        with self.assertRaisesRegex(scenario.Invalid, r"servers.bio1.nics\[0\].groups: there is no group astro/web; there are more"):
            scenario.parse(whole)

    def test_a_service_of_the_scenario(self):
        whole = changed(("services",), {"odd": {"port": 7000, "greeting": "\xffHello\n"}, "own": {"port": 7001, "command": ["nc", "-lk", "{port}"]}})
        whole["servers"]["web1"]["services"] = ["odd", "own:7002"]
        found = scenario.parse(whole)
        self.assertEqual(daemons.split("odd", found.services), ("odd", 7000))
        host = {"uuid": "x", "name": "web1"}
        self.assertEqual(daemons.own_command(found.services["own"], host, "/dir", 7002), ["nc", "-lk", "7002"])
        whole["servers"]["web1"]["services"] = ["odd", "own:7000"]
        with self.assertRaisesRegex(scenario.Invalid, "two services share a port"):
            scenario.parse(whole)

    def test_a_canned_service_answers(self):
        async def ask():
            service = model.Service("odd", 0, [], "hello\n", "\xfeyou said something\n")
            server = await asyncio.start_server(listeners.canned_talk(service.greeting, service.answer), "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            greeting = await asyncio.wait_for(reader.readline(), 5)
            writer.write(b"anything\n")
            answer = await asyncio.wait_for(reader.readline(), 5)
            writer.close()
            server.close()
            return greeting, answer
        self.assertEqual(asyncio.run(ask()), (b"hello\n", b"\xfeyou said something\n"))

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

    def test_no_ports_and_no_remote(self):
        self.assertEqual(self.body("tcp from any"), [
            {"direction": "ingress", "protocol": "tcp", "port_range_min": None, "port_range_max": None, "ethertype": family} for family in ("IPv4", "IPv6")])
        self.assertEqual([b["ethertype"] for b in self.body("any from any-ipv6")], ["IPv6"])

    def test_a_protocol_by_its_number(self):
        [body] = self.body("47 from 192.0.2.0/24")
        self.assertEqual((body["protocol"], body["port_range_min"], body["remote_ip_prefix"]), ("47", None, "192.0.2.0/24"))
        self.assertEqual(self.body("6/80 from any-ipv4")[0]["port_range_max"], 80)

    def test_a_protocol_of_ipv6_is_asked_for_ipv6_alone(self):
        self.assertEqual([(b["ethertype"], b["protocol"]) for b in self.body("icmpv6 from group web")], [("IPv6", "icmpv6")])

    def test_egress_rules_that_replace_the_default_ones_may_repeat_them(self):
        whole = changed(("projects", "astro", "groups", "web"), {"default_egress": False, "rules": ["egress any to any"]})
        self.assertEqual(scenario.parse(whole).projects["astro"].groups["web"].count("egress"), 2)

    def test_egress(self):
        [body] = self.body("egress udp/53 to 192.0.2.53/32")
        self.assertEqual((body["direction"], body["remote_ip_prefix"]), ("egress", "192.0.2.53/32"))

    def test_a_group_as_a_mapping(self):
        whole = changed(("projects", "astro", "groups", "web"), {"name": "Web  ", "stateful": False, "default_egress": False,
                                                                 "rules": ["tcp/80 from any", "egress tcp to any"]})
        group = scenario.parse(whole).projects["astro"].groups["web"]
        self.assertEqual((group.title, group.stateful, group.default_egress, len(group.rules)), ("Web  ", False, False, 2))
        self.assertEqual((group.count("ingress"), group.count("egress")), (2, 2))

    def test_default_egress_rules_are_counted(self):
        group = scenario.parse(yaml.safe_load(SMALL)).projects["astro"].groups["web"]
        self.assertEqual((group.count("ingress"), group.count("egress")), (1, 2))

    def test_addresses(self):
        self.assertEqual({b["remote_address_group_id"] for b in self.body("udp/53 from addresses dns")}, {"id of dns"})


class Recorder:
    """Stands for the client of the APIs and keeps what is asked of it."""

    def __init__(self, *_, **__):
        self.project, self.user = "admin", "admin"

    def __call__(self, method, service, route, body=None, **_):
        Recorder.asked.append((method, route, body))
        return {"security_group": {"security_group_rules": [{"id": "egress-4"}, {"id": "egress-6"}]}}

    def create(self, service, route, kind, /, **body):
        Recorder.asked.append(("POST", route, body))
        return {"id": f"{kind} {body.get('name') or len(Recorder.asked)}"}

    def list(self, service, route):
        if "users" in route:
            return [{"id": "id of ana", "name": "ana"}, {"id": "id of gone", "name": "gone"}]
        status = "SHUTOFF" if any(body == {"os-stop": None} for _, _, body in Recorder.asked) else "ACTIVE"
        return [{"id": f"server {v.title}", "status": status} for v in Recorder.scenario.servers.values()]


class Populated(unittest.TestCase):
    def setUp(self):
        Recorder.asked, Recorder.scenario = [], scenario.load(scenario.find("variety"))
        with unittest.mock.patch.object(population, "API", Recorder), unittest.mock.patch.object(population, "say"):
            cloud = population.Population(Recorder.scenario)
            cloud.project = {name: "id of " + name for name in Recorder.scenario.projects}
            cloud.token = {name: Recorder() for name in Recorder.scenario.projects}
            cloud.image, cloud.flavor = "image", "flavor"
            cloud.networks_and_groups()
            cloud.boot_all()
            cloud.disable_users()

    def bodies(self, route):
        return [body for _, asked, body in Recorder.asked if asked.endswith(route)]

    def test_forwardings_share_a_floating_ip(self):
        self.assertEqual(sum(b["floating_ip_address"] == "203.0.113.120" for b in self.bodies("/floatingips")), 1)
        self.assertEqual(sorted(b["external_port"] for b in self.bodies("/port_forwardings")), [2323, 8022, 16379])

    def test_floating_ips_name_their_fixed_ip(self):
        fixed = {b["floating_ip_address"]: b.get("fixed_ip_address") for b in self.bodies("/floatingips")}
        self.assertEqual((fixed["203.0.113.105"], fixed["203.0.113.103"], fixed["203.0.113.101"]), ("10.1.0.15", "10.11.0.13", "10.1.0.11"))

    def test_groups(self):
        self.assertEqual([b["target_tenant"] for b in self.bodies("/rbac-policies")], ["id of biology"])
        self.assertEqual([b["name"] for b in self.bodies("/security-groups") if b.get("stateful") is False], ["stateless"])
        self.assertEqual([route.rpartition("/")[2] for method, route, _ in Recorder.asked if method == "DELETE"], ["egress-4", "egress-6"])
        self.assertIn("security_group for all — SSH", [b.get("remote_group_id") for b in self.bodies("/security-group-rules")])

    def test_one_server_is_stopped_and_one_user_disabled(self):
        self.assertEqual(self.bodies("/servers/server asleep/action"), [{"os-stop": None}])
        self.assertEqual(self.bodies("/users/id of gone"), [{"user": {"enabled": False}}])

    def test_servers_have_their_names(self):
        names = {b["metadata"]["lab_name"]: b["name"] for b in self.bodies("/v2.1/servers")}
        self.assertEqual((len(names), names["wide"], names["files"]), (17, "-la", "サーバー 1"))


class Hosts(unittest.TestCase):
    def test_a_table_has_one_default_route(self):
        """A second `ip route add` of the same route fails, and the server with it."""
        nic = {"addresses": [{"ip": ip, "gateway": ip.rpartition(".")[0] + ".1"} for ip in ("10.1.0.11", "10.1.0.12", "10.2.0.13")]}
        self.assertEqual([" ".join(x) for x in hosts.routing(1, nic, {"-4"})], [
            "-4 route add default via 10.1.0.1 dev eth1 table 101", "-4 rule add from 10.1.0.11 table 101", "-4 rule add from 10.1.0.12 table 101",
            "-4 route add default via 10.2.0.1 dev eth1 table 121", "-4 rule add from 10.2.0.13 table 121"])

    def test_the_first_nic_has_the_main_route_of_each_family(self):
        nic = {"addresses": [{"ip": "10.1.0.11", "gateway": "10.1.0.1"}, {"ip": "2001:db8::11", "gateway": "2001:db8::1"}, {"ip": "10.1.0.12", "gateway": None}]}
        self.assertEqual([" ".join(x) for x in hosts.routing(0, nic, set())], [
            "-4 route add default via 10.1.0.1 dev eth0", "-6 route add default via 2001:db8::1 dev eth0"])

    def test_a_server_is_listed_by_the_name_of_its_namespace(self):
        server = {"name": "-rf 'ü'", "metadata": {"lab_services": "web", "lab_name": "odd"}}
        self.assertEqual(commands.named(server), ("odd", "named \"-rf 'ü'\""))
        self.assertEqual(commands.named({"name": "web1", "metadata": {"lab_services": "web"}}), ("web1", ""))


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
