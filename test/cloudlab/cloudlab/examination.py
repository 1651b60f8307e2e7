"""Whether the cloud that is up is the one its scenario describes: asked of the APIs, probed from the vantage points."""
import json
import time

from . import accounts, population, world
from . import scenario as scenarios
from .rest import API, SERVERS, Refused
from .settings import PYTHON, TESTBED

PATIENCE = 10  # seconds in which a changed rule must show


def examine():
    """Ask everything, print what is wrong, end in one line of JSON; 1 if anything is wrong."""
    began = time.monotonic()
    exam = Examination(scenarios.active())
    exam.inventory()
    exam.accounts()
    exam.views()
    exam.trials()
    print(json.dumps(exam.count | {"wrong": exam.wrong, "seconds": round(time.monotonic() - began)}))
    return 1 if exam.wrong else 0


class Examination:
    def __init__(self, scenario):
        self.scenario, self.admin, self.wrong = scenario, API("admin", "admin"), 0
        self.count = {"scenario": scenario.name}

    def must(self, right, text):
        if not right:
            self.wrong += 1
            print("WRONG:", text, flush=True)

    def same(self, what, found, expected):
        if isinstance(found, set):
            found, expected = sorted(found - expected), sorted(expected - found)
        self.must(found == expected, f"{what}: the cloud has {found}, the scenario {expected}")

    def rows(self, kind):
        return self.admin.list("neutron", f"/v2.0/{kind}")

    def inventory(self):
        """Servers, addresses, groups, floating IPs and users, each as the file has them and no other."""
        s = self.scenario
        projects = {p["id"]: p["name"] for p in self.admin.list("keystone", "/v3/projects")}
        self.same("projects", set(projects.values()) - {"admin", "service", accounts.PROJECT}, {p.title for p in s.projects.values()})
        users = {u["name"]: (u.get("email"), u["enabled"]) for u in self.admin.list("keystone", "/v3/users")}
        for project in s.projects.values():
            for user in project.users.values():
                self.same(f"{user.name}'s address, and whether enabled", users.get(user.name), (user.email, user.enabled))
        servers = self.admin.list("nova", SERVERS)
        self.same("servers", {(v["name"], projects.get(v["tenant_id"]), v["status"]) for v in servers},
                  {(v.title, s.projects[v.project].title, "SHUTOFF" if v.off else "ACTIVE") for v in s.servers.values()})
        self.same("networks", {(n["name"], bool(n["router:external"])) for n in self.rows("networks")},
                  {(n, True) for n in s.providers} | {(n, False) for p in s.projects.values() for n in p.networks})
        made = [g for g in self.rows("security-groups") if g["name"] != "default" and projects.get(g["project_id"]) in {p.title for p in s.projects.values()}]
        self.same("groups, stateful or not, and how many rules they have for ingress and egress",
                  {(projects[g["project_id"]], g["name"], g["stateful"], *(sum(
                      r["direction"] == way for r in g["security_group_rules"]) for way in ("ingress", "egress"))) for g in made},
                  {(p.title, g.title, g.stateful, g.count("ingress"), g.count("egress")) for p in s.projects.values() for g in p.groups.values()})
        shared = [(r["object_id"], projects.get(r["target_tenant"])) for r in self.rows("rbac-policies") if r["object_type"] == "security_group"]
        titles = {g["id"]: g["name"] for g in made}
        self.same("shared groups", {(titles.get(group), target) for group, target in shared},
                  {(g.title, s.projects[other].title) for p in s.projects.values() for g in p.groups.values() for other in g.shared_with})
        self.ports({v["id"]: v["name"] for v in servers})
        self.count |= {"projects": len(s.projects), "servers": len(servers)}

    def ports(self, names):
        rows, groups = self.rows("ports"), {g["id"]: g["name"] for g in self.rows("security-groups")}
        found = [(names[p["device_id"]], sorted(i["ip_address"] for i in p["fixed_ips"]), sorted(groups[g] for g in p["security_groups"]))
                 for p in rows if p["device_id"] in names]
        described = [(v.title, sorted(map(str, nic.addresses)), sorted(self.scenario.group(v.project, g).title for g in nic.groups)) for v in self.scenario.servers.values() for nic in v.nics]
        self.same("ports", sorted(found), sorted(described))
        behind = {p["id"]: names.get(p["device_id"]) for p in rows}
        self.floating_ips(behind)

    def floating_ips(self, behind):
        """Each leads to the server the file names, or forwards its ports there. `behind` has the server of each port."""
        rows, servers = self.rows("floatingips"), self.scenario.servers.values()
        shares = {f["floating_ip_address"]: self.rows(f"floatingips/{f['id']}/port_forwardings") for f in rows if not f["port_id"]}
        # One that leads nowhere and forwards nothing is in no file.
        self.same("floating IPs", {(f["floating_ip_address"], str(behind.get(f["port_id"]))) for f in rows if not shares.get(f["floating_ip_address"])},
                  {(str(a), v.title) for v in servers for a in v.floating_ips()})
        found = {(floating, w["protocol"], w["external_port"], w["internal_ip_address"], w["internal_port"], str(behind.get(w["internal_port_id"])))
                 for floating, forwards in shares.items() for w in forwards}
        self.same("port forwardings", found, {(str(w.floating), w.protocol, w.outer, str(w.fixed), w.inner, v.title)
                                              for v in servers for nic in v.nics for w in nic.forwards})

    def accounts(self):
        """The two credentials may do what they are for and nothing else; the reader is denied or, worse, told of nothing."""
        credentials, port = accounts.credentials(), next(p for p in self.rows("ports") if p["device_owner"].startswith("compute:"))
        reads = [("nova", SERVERS), ("neutron", "/v2.0/ports"), ("neutron", "/v2.0/security-groups")]
        inventory, enforce = (API(credential=credentials[name]) for name in accounts.CREDENTIALS)
        for service, route in reads + [("neutron", "/v2.0/routers"), ("glance", "/v2/images"), ("keystone", "/v3/users")]:
            self.may("demarc-inventory", inventory, 200, "GET", service, route)
        for service, route in reads:
            self.may("demarc-enforce", enforce, 200, "GET", service, route)
        change = ("PUT", "neutron", f"/v2.0/ports/{port['id']}", {"port": {"description": port["description"]}})
        self.may("demarc-inventory", inventory, 401, *change)
        self.may("demarc-enforce", enforce, 200, *change)
        server = f"/v2.1/servers/{port['device_id']}"
        for body in ({"lock": {"locked_reason": "an examination"}}, {"unlock": None}):
            self.may("demarc-inventory", inventory, 401, "POST", "nova", server + "/action", body)
            self.may("demarc-enforce", enforce, 200, "POST", "nova", server + "/action", body)
        for name, api in (("demarc-inventory", inventory), ("demarc-enforce", enforce)):
            self.may(name, api, 401, "DELETE", "nova", server)
            self.may(name, api, 401, "DELETE", "neutron", f"/v2.0/ports/{port['id']}")
        self.same("ports that Neutron has for the reader", API("reader", accounts.PROJECT).list("neutron", "/v2.0/ports"), [])
        try:
            API(credential=credentials[accounts.EXPIRED])
            self.must(False, f"{accounts.EXPIRED} is let in")
        except Refused as err:
            self.same(f"Keystone's answer to {accounts.EXPIRED}", err.code, 401)

    def may(self, name, api, expected, method, service, route, body=None):
        try:
            api(method, service, route, body)
            got = 200
        except Refused as err:
            got = err.code
        self.same(f"{name}: {method} {service}{route}", got, expected)

    def views(self):
        """From each source, every address of every server at every port: open as the file says, and not otherwise."""
        s = self.scenario
        every = sorted({str(a) for v in s.servers.values() for a in [*v.floating_ips(), *(a for nic in v.nics for a in nic.addresses)]}
                       | {str(w.floating) for v in s.servers.values() for nic in v.nics for w in nic.forwards})
        self.count |= {"asked": 0, "open": 0}
        for view in s.expect.views:
            source = str(view.source or s.vantages[view.vantage].addresses[0].ip)
            # A source named in the file is of one family, and so are the addresses it can ask.
            ends = [[a, port] for a in every if not view.source or (":" in a) == (":" in source) for port in s.expect.ports]
            found = {tuple(end) for end in probe(view.vantage, source, ends)}
            expected = {(str(a), port) for a, ports in view.open.items() for port in ports}
            for address, port in sorted(found ^ expected):
                state = "open" if (address, port) in found else "closed"
                self.must(False, f"from {view.vantage} {source}: {address} port {port} is {state}")
            self.count["asked"] += len(ends)
            self.count["open"] += len(found)

    def trials(self):
        """A rule opens what was closed, and its end closes it again."""
        s, projects = self.scenario, {p["name"]: p["id"] for p in self.admin.list("keystone", "/v3/projects")}
        groups = {(g["project_id"], g["name"]): g["id"] for g in self.rows("security-groups")}
        took = []
        for trial in s.expect.trials:
            title = s.projects[trial.project].title
            owner = projects[title]
            group = groups[owner, s.projects[trial.project].groups[trial.group].title]
            body = population.rule_bodies(trial.rule, None, None)[0]
            end = [str(trial.address), trial.port]
            source = str(next(a.ip for a in s.vantages[trial.vantage].addresses if a.version == trial.address.version))
            place = f"{end[0]} port {end[1]} from {trial.vantage}"
            self.must(not probe(trial.vantage, source, [end]), f"{place} is open before its rule")
            admin = API("admin", title)
            made = admin.create("neutron", "/v2.0/security-group-rules", "security_group_rule", **body, security_group_id=group, project_id=owner)
            took.append(self.within(f"{place} opens with its rule", lambda: probe(trial.vantage, source, [end])))
            admin("DELETE", "neutron", f"/v2.0/security-group-rules/{made['id']}")
            took.append(self.within(f"{place} closes without its rule", lambda: not probe(trial.vantage, source, [end])))
        self.count |= {"rules": len(took), "slowest_rule_seconds": round(max(took, default=0), 1)}

    def within(self, what, true):
        began = time.monotonic()
        while not true():
            if time.monotonic() - began > PATIENCE:
                self.must(False, f"not within {PATIENCE} s: {what}")
                break
        return time.monotonic() - began


def probe(vantage, source, ends):
    """Those of the ends that accept a TCP connection from there."""
    return json.loads(world.inside(vantage, PYTHON, TESTBED, "_probe", source, input=json.dumps(ends)))
