"""A scenario made real through OpenStack's APIs: projects, users, networks, groups, servers, keypairs, volumes."""
import concurrent.futures
import os
import threading

from . import accounts, backing, identity, processes, services
from .rest import API, SERVERS
from .settings import CINDER, Failure, Hopeless, path, read, run, say

ENCRYPTION = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}


def populate(scenario):
    cloud = Population(scenario)
    cloud.projects_and_users()
    accounts.make(cloud.admin)
    cloud.networks_and_groups()
    cloud.image_and_flavor()
    cloud.boot_all()
    cloud.keypairs()
    if CINDER:
        cloud.volumes()
    cloud.disable_users()


class Population:
    """What has been made so far, by name."""

    def __init__(self, scenario):
        self.scenario, self.admin = scenario, API("admin", "admin")
        self.project, self.token, self.net, self.subnet, self.group, self.address_group = {}, {}, {}, {}, {}, {}
        self.forwarding, self.turn = {}, threading.Lock()  # floating IPs that forward, by address

    def projects_and_users(self):
        ids = identity.roles(self.admin)
        for project in self.scenario.projects.values():
            made = self.project[project.name] = identity.make_project(self.admin, project.title, project.description)
            for user in project.users.values():
                if user.role not in ids:
                    raise Failure(f"projects.{project.name}.users.{user.name}: there is no role {user.role}")
                uid = identity.make_user(self.admin, user.name, email=user.email, default_project_id=made)
                self.admin("PUT", "keystone", f"/v3/projects/{made}/users/{uid}/roles/{ids[user.role]}")
            # The admin creates on the tenants' behalf; under the newer policies even an admin acts in the owner's project.
            self.admin("PUT", "keystone", f"/v3/projects/{made}/users/{self.admin.user}/roles/{ids['admin']}")
            self.token[project.name] = API("admin", project.title)
        say("projects, users, roles")

    def make(self, kind, project=None, **body):
        """One of Neutron's things, in a project's name."""
        owner = {"project_id": self.project[project]} if project else {}
        key = kind.replace("-", "_")
        plural = "rbac-policies" if kind == "rbac-policy" else kind + "s"
        return self.token.get(project, self.admin).create("neutron", f"/v2.0/{plural}", key, **body, **owner)["id"]

    def networks_and_groups(self):
        processes.wait("neutron", lambda: self.admin("GET", "neutron", "/v2.0/networks"), 120)
        for network in self.scenario.providers.values():
            self.net[network.name] = self.make("network", name=network.name, shared=True, port_security_enabled=True, **{
                "router:external": True, "provider:network_type": "flat", "provider:physical_network": network.name})
            self.subnets(network)
        for project in self.scenario.projects.values():
            for network in project.networks.values():
                self.net[network.name] = self.make("network", project.name, name=network.name)
                self.subnets(network)
            for router in project.routers.values():
                self.router(project, router)
            for name, prefixes in project.address_groups.items():
                self.address_group[project.name, name] = self.make("address-group", project.name, name=name,
                                                                          addresses=list(map(str, prefixes)))
            for group in project.groups.values():
                self.make_group(project, group)
        for project in self.scenario.projects.values():  # a rule may name another project's group
            for group in project.groups.values():
                for rule in group.rules:
                    self.rule(project.name, group.key, rule)
        say("networks, routers, security groups")

    def make_group(self, project, group):
        made = self.group[project.name, group.key] = self.make("security-group", project.name, name=group.title, **({} if group.stateful else {"stateful": False}))
        if not group.default_egress:
            token = self.token[project.name]
            for rule in token("GET", "neutron", f"/v2.0/security-groups/{made}")["security_group"]["security_group_rules"]:
                token("DELETE", "neutron", f"/v2.0/security-group-rules/{rule['id']}")
        for other in group.shared_with:
            self.make("rbac-policy", project.name, object_type="security_group", object_id=made, action="access_as_shared",
                      target_tenant=self.project[other])

    def group_id(self, project, name):
        """The id of a group as a project refers to it: its own by the key, another's as PROJECT/GROUP."""
        owner, slash, key = name.partition("/")
        return self.group[(owner, key) if slash else (project, name)]

    def subnets(self, network):
        for subnet in network.subnets.values():
            body = dict(name=subnet.name, network_id=self.net[network.name], ip_version=subnet.cidr.version,
                        cidr=str(subnet.cidr), enable_dhcp=False)
            if subnet.gateway:
                body["gateway_ip"] = str(subnet.gateway)
            if subnet.pool:
                body["allocation_pools"] = [{"start": str(subnet.pool[0]), "end": str(subnet.pool[1])}]
            self.subnet[network.name, subnet.name] = self.make("subnet", network.project, **body)

    def fixed(self, network, address):
        """An address, with the subnet it lies in, as Neutron wants it."""
        subnet = next(s for s in network.subnets.values() if address in s.cidr)
        return {"subnet_id": self.subnet[network.name, subnet.name], "ip_address": str(address)}

    def router(self, project, router):
        outside = self.scenario.providers[router.network]
        made = self.make("router", project.name, name=router.name, external_gateway_info={
            "network_id": self.net[outside.name], "external_fixed_ips": [self.fixed(outside, a) for a in router.addresses]})
        inside = [self.subnet[network.name, name] for network in project.networks.values() for name in network.subnets if name in router.subnets]
        for subnet in inside:
            self.token[project.name]("PUT", "neutron", f"/v2.0/routers/{made}/add_router_interface", {"subnet_id": subnet})

    def rule(self, project, group, rule):
        for body in rule_bodies(rule, lambda name: self.group_id(project, name), lambda name: self.address_group[project, name]):
            self.make("security-group-rule", project, security_group_id=self.group[project, group], **body)

    def image_and_flavor(self):
        admin = self.admin
        processes.wait("glance", lambda: admin("GET", "glance", "/v2/images"), 60)
        image = dict(name="debian-12", disk_format="raw", container_format="bare", visibility="public")
        self.image = admin("POST", "glance", "/v2/images", image)["id"]
        admin("PUT", "glance", f"/v2/images/{self.image}/file", raw=b"\0" * 1024, headers={"Content-Type": "application/octet-stream"})
        processes.wait("nova", lambda: admin("GET", "nova", "/v2.1/flavors"), 120)
        self.flavor = admin.create("nova", "/v2.1/flavors", "flavor", name="m1.tiny", ram=64, vcpus=1, disk=1, id="1")["id"]
        processes.wait("nova-compute", lambda: ("nova-compute", "up") in [
            (s["binary"], s["state"]) for s in admin.list("nova", "/v2.1/os-services")], 120)
        if not backing.sql("select 1 from nova_api.host_mappings limit 1").strip():
            services.discover_hosts()
        say("image, flavor, compute host")

    def boot_all(self):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(self.boot, self.scenario.servers.values()))

        def active():
            status = {s["id"]: s["status"] for s in self.admin.list("nova", SERVERS)}
            if "ERROR" in status.values():
                raise Hopeless(f"a server failed to boot: {status}; see {path('log/nova-compute.log')}")
            return all(status.get(i) == "ACTIVE" for i in ids)
        processes.wait("servers", active, 180, 0.5)
        self.switch_off([i for i, server in zip(ids, self.scenario.servers.values()) if server.off])
        say(f"{len(ids)} servers made")

    def switch_off(self, ids):
        for server in ids:
            self.admin("POST", "nova", f"/v2.1/servers/{server}/action", {"os-stop": None})

        def off():
            status = {s["id"]: s["status"] for s in self.admin.list("nova", SERVERS)}
            return all(status.get(i) == "SHUTOFF" for i in ids)
        processes.wait("servers to stop", off, 120, 0.5)

    def boot(self, server):
        ports = []
        for nic in server.nics:
            network = self.scenario.network(nic.network)
            body = dict(network_id=self.net[nic.network], name=f"{server.name}-{nic.network}",
                        fixed_ips=[self.fixed(network, a) for a in nic.addresses],
                        security_groups=[self.group_id(server.project, g) for g in nic.groups])
            if not nic.port_security:
                body["port_security_enabled"] = False
            ports.append(self.make("port", server.project, **body))
        metadata = {"lab_services": ",".join(server.services), "lab_name": server.name} | ({"lab_firewall": server.firewall} if server.firewall else {})
        made = self.token[server.project].create("nova", "/v2.1/servers", "server", name=server.title, imageRef=self.image,
                                                 flavorRef=self.flavor, networks=[{"port": p} for p in ports], metadata=metadata)["id"]
        if server.floating:
            self.floating(server.project, server.floating, port_id=ports[0], fixed_ip_address=str(server.first_ipv4()))
        for nic, port in zip(server.nics, ports):
            for floating, fixed in nic.floating.items():
                self.floating(server.project, floating, port_id=port, fixed_ip_address=str(fixed))
            for forward in nic.forwards:
                self.forward(server.project, forward, port)
        return made

    def floating(self, project, address, **body):
        outside = next(n for n in self.scenario.providers.values() if any(address in s.cidr for s in n.subnets.values()))
        return self.make("floatingip", project, floating_network_id=self.net[outside.name], floating_ip_address=str(address), **body)

    def forward(self, project, forward, port):
        """A floating IP is made with the first of its forwardings; servers are made at once, so one at a time."""
        with self.turn:
            if forward.floating not in self.forwarding:
                self.forwarding[forward.floating] = self.floating(project, forward.floating)
            self.token[project].create("neutron", f"/v2.0/floatingips/{self.forwarding[forward.floating]}/port_forwardings",
                                       "port_forwarding", **forwarding_body(forward, port))

    def keypairs(self):
        """As the users would make them; the private halves are thrown away."""
        for project in self.scenario.projects.values():
            for user in project.users.values():
                for name, kind in user.keypairs.items():
                    algorithm, _, bits = str(kind).partition(" ")
                    file = path("tmp", name)
                    run(["ssh-keygen", "-q", "-N", "", "-f", file, "-t", algorithm] + (["-b", bits] if bits else []))
                    key = read(file + ".pub")
                    os.unlink(file)
                    os.unlink(file + ".pub")
                    API(user.name, project.title).create("nova", "/v2.1/os-keypairs", "keypair", name=name, public_key=key, type="ssh")

    def disable_users(self):
        """At the end, for a disabled user can make no keypair and no volume."""
        disabled = {user.name for project in self.scenario.projects.values() for user in project.users.values() if not user.enabled}
        for user in self.admin.list("keystone", "/v3/users"):
            if user["name"] in disabled:
                self.admin("PATCH", "keystone", f"/v3/users/{user['id']}", {"user": {"enabled": False}})

    def volumes(self):
        admin, base = self.admin, f"/v3/{self.admin.project}"
        processes.wait("cinder", lambda: all(s["state"] == "up" for s in admin.list("cinder", base + "/os-services")), 120)
        admin.create("cinder", base + "/types", "volume_type", name="plain")
        luks = admin.create("cinder", base + "/types", "volume_type", name="luks")["id"]
        admin.create("cinder", base + f"/types/{luks}/encryption", "encryption", **ENCRYPTION)
        for project in self.scenario.projects.values():
            for volume in project.volumes.values():
                self.volume(API(volume.owner, project.title), f"/v3/{self.project[project.name]}", volume)
        say("keypairs, volumes")

    def volume(self, owner, base, volume):
        """Until the scheduler has heard of the back end's capacity, which may be a minute after both are up, it refuses a volume for
        good: such a one is made again."""
        made = []

        def available():
            if not made:
                made.append(owner.create("cinder", base + "/volumes", "volume", name=volume.name, size=volume.size, volume_type="plain")["id"])
            status = owner("GET", "cinder", f"{base}/volumes/{made[0]}")["volume"]["status"]
            if status == "error":
                owner("DELETE", "cinder", f"{base}/volumes/{made.pop()}")
            return status == "available"

        processes.wait("volume", available, 180, 1)
        for name in volume.snapshots:
            owner.create("cinder", base + "/snapshots", "snapshot", volume_id=made[0], name=name)


def rule_bodies(rule, group_id, address_group_id):
    """What is sent to Neutron for a rule: one body, or one for each family where the remote end is no prefix."""
    body = dict(direction=rule.direction, protocol=rule.protocol, port_range_min=rule.low, port_range_max=rule.high)
    if rule.cidr:
        return [body | {"ethertype": f"IPv{rule.cidr.version}", "remote_ip_prefix": str(rule.cidr)}]
    if rule.group:
        remote = {"remote_group_id": group_id(rule.group)}
    elif rule.addresses:
        remote = {"remote_address_group_id": address_group_id(rule.addresses)}
    else:
        remote = {}
    return [body | remote | {"ethertype": f"IPv{family}"} for family in rule.families]


def forwarding_body(forward, port):
    return dict(protocol=forward.protocol, external_port=forward.outer, internal_port=forward.inner,
                internal_ip_address=str(forward.fixed), internal_port_id=port)
