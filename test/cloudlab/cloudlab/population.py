"""A scenario made real through OpenStack's APIs: projects, users, networks, groups, servers, keypairs, volumes."""
import concurrent.futures
import os

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


class Population:
    """What has been made so far, by name."""

    def __init__(self, scenario):
        self.scenario, self.admin = scenario, API("admin", "admin")
        self.project, self.token, self.net, self.subnet, self.group, self.address_group = {}, {}, {}, {}, {}, {}

    def projects_and_users(self):
        ids = identity.roles(self.admin)
        for project in self.scenario.projects.values():
            made = self.project[project.name] = identity.make_project(self.admin, project.name, project.description)
            for user in project.users.values():
                if user.role not in ids:
                    raise Failure(f"projects.{project.name}.users.{user.name}: there is no role {user.role}")
                uid = identity.make_user(self.admin, user.name, email=user.email, default_project_id=made)
                self.admin("PUT", "keystone", f"/v3/projects/{made}/users/{uid}/roles/{ids[user.role]}")
            # The admin creates on the tenants' behalf; under the newer policies even an admin acts in the owner's project.
            self.admin("PUT", "keystone", f"/v3/projects/{made}/users/{self.admin.user}/roles/{ids['admin']}")
            self.token[project.name] = API("admin", project.name)
        say("projects, users, roles")

    def make(self, kind, project=None, **body):
        """One of Neutron's things, in a project's name."""
        owner = {"project_id": self.project[project]} if project else {}
        key = kind.replace("-", "_")
        return self.token.get(project, self.admin).create("neutron", f"/v2.0/{kind}s", key, **body, **owner)["id"]

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
            for name in project.groups:
                self.group[project.name, name] = self.make("security-group", project.name, name=name)
            for name, rules in project.groups.items():
                for rule in rules:
                    self.rule(project.name, name, rule)
        say("networks, routers, security groups")

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
        for body in rule_bodies(rule, lambda name: self.group[project, name], lambda name: self.address_group[project, name]):
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
        say(f"{len(ids)} servers active")

    def boot(self, server):
        ports = []
        for nic in server.nics:
            network = self.scenario.network(nic.network)
            body = dict(network_id=self.net[nic.network], name=f"{server.name}-{nic.network}",
                        fixed_ips=[self.fixed(network, a) for a in nic.addresses],
                        security_groups=[self.group[server.project, g] for g in nic.groups])
            if not nic.port_security:
                body["port_security_enabled"] = False
            ports.append(self.make("port", server.project, **body))
        metadata = {"lab_services": ",".join(server.services)} | ({"lab_firewall": server.firewall} if server.firewall else {})
        made = self.token[server.project].create("nova", "/v2.1/servers", "server", name=server.name, imageRef=self.image,
                                                 flavorRef=self.flavor, networks=[{"port": p} for p in ports], metadata=metadata)["id"]
        if server.floating:
            outside = next(n for n in self.scenario.providers.values() if any(server.floating in s.cidr for s in n.subnets.values()))
            self.make("floatingip", server.project, floating_network_id=self.net[outside.name], port_id=ports[0],
                      floating_ip_address=str(server.floating))
        return made

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
                    API(user.name, project.name).create("nova", "/v2.1/os-keypairs", "keypair", name=name, public_key=key, type="ssh")

    def volumes(self):
        admin, base = self.admin, f"/v3/{self.admin.project}"
        processes.wait("cinder", lambda: all(s["state"] == "up" for s in admin.list("cinder", base + "/os-services")), 120)
        admin.create("cinder", base + "/types", "volume_type", name="plain")
        luks = admin.create("cinder", base + "/types", "volume_type", name="luks")["id"]
        admin.create("cinder", base + f"/types/{luks}/encryption", "encryption", **ENCRYPTION)
        for project in self.scenario.projects.values():
            for volume in project.volumes.values():
                self.volume(API(volume.owner, project.name), f"/v3/{self.project[project.name]}", volume)
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
    """What Neutron is told of a rule: one body, or one for each family where the remote end is named by a group."""
    body = dict(direction="ingress", protocol=rule.protocol, port_range_min=rule.low, port_range_max=rule.high)
    if rule.cidr:
        return [body | {"ethertype": f"IPv{rule.cidr.version}", "remote_ip_prefix": str(rule.cidr)}]
    if rule.group:
        remote = {"remote_group_id": group_id(rule.group)}
    else:
        remote = {"remote_address_group_id": address_group_id(rule.addresses)}
    return [body | remote | {"ethertype": family} for family in ("IPv4", "IPv6")]
