"""The world outside the cloud: a network namespace for each vantage point, and `edge`, which routes between them and the cloud."""
import os
import signal

from . import processes
from .settings import MANAGEMENT, PREFIX, listing, management_link, namespace, run


def ip(*arguments, inside=None, check=True):
    return run(["ip", *(["-n", namespace(inside)] if inside else []), *arguments], check=check)


def inside(name, *command, **more):
    return run(["ip", "netns", "exec", namespace(name), *command], **more)


def sysctl(name, **values):
    inside(name, "sysctl", "-q", *[f"{key.replace('__', '.')}={value}" for key, value in values.items()])


def exists(name):
    return os.path.exists(f"/run/netns/{namespace(name)}")


def make(name):
    ip("netns", "add", namespace(name))
    ip("link", "set", "lo", "up", inside=name)


def remove(full):
    for pid in processes.in_namespace(full):
        processes.signal_one(pid, signal.SIGKILL)  # only processes inside a namespace that we made
    run(["ip", "netns", "del", full], check=False)


def ours():
    """The machine's names of all our namespaces."""
    return [name for name in listing("/run/netns") if name.startswith(PREFIX + "-")]


def management_links():
    return [link for link in map(management_link, range(10)) if os.path.exists(f"/sys/class/net/{link}")]


def add_address(device, address, inside=None):
    ip("addr", "add", address, "dev", device, *(["nodad"] if ":" in address else []), inside=inside)


def whole_checksums(name, device):
    """The userspace datapath reads frames from a packet socket and sees partial checksums unless the sender does them."""
    there = ["ip", "netns", "exec", namespace(name)] if name else []
    run([*there, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off"], check=False)


def join(*ends):
    """A veth pair; each end is (namespace or None for the machine's own, device, addresses)."""
    words = [["name", device, *(["netns", namespace(name)] if name else [])] for name, device, _ in ends]
    run(["ip", "link", "add", *words[0], "type", "veth", "peer", *words[1]])
    for name, device, addresses in ends:
        for address in addresses:
            add_address(device, address, inside=name)
        ip("link", "set", device, "up", inside=name)
        whole_checksums(name, device)


def start(scenario):
    if exists("edge"):
        return
    for name in ("fabric", "edge", *scenario.vantages):
        make(name)
    sysctl("edge", net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    for network in scenario.providers.values():
        join(("edge", network.name, [f"{s.gateway}/{s.cidr.prefixlen}" for s in network.subnets.values()]), ("fabric", network.name, []))
    for number, vantage in enumerate(scenario.vantages.values()):
        start_vantage(number, vantage)
    for cidr, gateway in scenario.routed6():
        ip("-6", "route", "add", str(cidr), "via", str(gateway), inside="edge")
    drops = "".join(f'iifname "{a}" oifname "{b}" ct state new drop\n' for a, b in scenario.no_route)
    inside("edge", "nft", "-f", "-", input=f"""\
table inet edge {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
    {drops}
  }}
}}
""")


def start_vantage(number, vantage):
    join(("edge", vantage.name, list(map(str, vantage.edge))), (vantage.name, "eth0", list(map(str, vantage.addresses))))
    for edge in vantage.edge:
        first = next(a for a in vantage.addresses if a.version == edge.version)
        family = "-4" if edge.version == 4 else "-6"
        ip(family, "route", "add", "default", "via", str(edge.ip), "src", str(first.ip), inside=vantage.name)
    if MANAGEMENT:  # lets a probe at this vantage point reach a controller on the machine itself
        join((None, management_link(number), [f"169.254.20{number}.1/30"]), (vantage.name, "mgmt", [f"169.254.20{number}.2/30"]))


def stop():
    for full in ours():
        remove(full)
    for link in management_links():
        run(["ip", "link", "del", link], check=False)
