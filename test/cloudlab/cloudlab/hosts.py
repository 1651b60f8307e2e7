"""A server as the Nova driver asks for it: a network namespace with NICs in the fabric and daemons inside."""
import json
import os

from . import daemons, fabric, processes, scenario, world
from .settings import Failure, listing, namespace, path, read, run


def describe(uuid):
    """What the Nova driver wrote down, or None for a server it knows nothing of."""
    file = path("hosts", uuid + ".json")
    return json.loads(read(file)) if os.path.exists(file) else None


def group(uuid):
    """Where a host's processes are recorded."""
    return f"hosts/{uuid}/pids"


def groups():
    """The records of all hosts' processes."""
    return [group(uuid) for uuid in listing(path("hosts")) if os.path.isdir(path(group(uuid)))]


def up(uuid):
    host = describe(uuid)
    name = "h-" + host["name"]
    if world.exists(name):
        down(uuid)
    world.make(name)
    world.sysctl(name, net__ipv6__conf__all__accept_ra=0, net__ipv6__conf__default__accept_ra=0)
    routed = set()
    for number, nic in enumerate(host["nics"]):
        plug(name, number, nic, routed)
    services = [s for s in host["services"].split(",") if s]
    described = scenario.active()
    rules = daemons.firewall(host["firewall"], services, described.scanners)
    if rules:
        world.inside(name, "nft", "-f", "-", input=rules)
    for service in services:
        processes.spawn(f"{host['name']}.{service}", daemons.command(host, service, described.services), inside=name, group=group(uuid))


def plug(name, number, nic, routed):
    """One NIC: a veth into the fabric, its addresses and its routes. `routed` holds the families that have a default route."""
    device, tap, mtu = f"eth{number}", fabric.tap(nic["port"]), str(nic["mtu"])
    run(["ip", "link", "add", "name", tap, "mtu", mtu, "netns", namespace("fabric"), "type", "veth",
         "peer", "name", device, "mtu", mtu, "address", nic["mac"], "netns", namespace(name)])
    world.whole_checksums(name, device)
    world.ip("link", "set", tap, "up", inside="fabric")
    for address in nic["addresses"]:
        world.add_address(device, f"{address['ip']}/{address['cidr'].split('/')[1]}", inside=name)
    world.ip("link", "set", device, "up", inside=name)
    for command in routing(number, nic, routed):
        world.ip(*command, inside=name)
    fabric.plug(nic["port"], nic["mac"])


def routing(number, nic, routed):
    """The commands of `ip` that give a NIC its routes: a second NIC answers through its own gateway, by a table of its own.
    Addresses with the same gateway share its route, for a route that is there already is an error."""
    out, main, tables = [], set(), {}
    for address in nic["addresses"]:
        family = "-6" if ":" in address["ip"] else "-4"
        end = (family, address["gateway"])
        if not address["gateway"] or end in main:
            continue
        route = [family, "route", "add", "default", "via", address["gateway"], "dev", f"eth{number}"]
        if family not in routed:
            routed.add(family)
            main.add(end)
            out.append(route)
            continue
        if end not in tables:
            tables[end] = str(100 + number + 20 * len(tables))
            out.append([*route, "table", tables[end]])
        out.append([family, "rule", "add", "from", address["ip"], "table", tables[end]])
    return out


def down(uuid):
    host = describe(uuid)
    if not host:
        return
    processes.stop(processes.names(group(uuid)), group=group(uuid), grace=2)
    for nic in host["nics"]:
        try:
            fabric.unplug(nic["port"])
        except Failure:
            pass  # the switch may be gone before its ports
    if world.exists("h-" + host["name"]):
        world.remove(namespace("h-" + host["name"]))
