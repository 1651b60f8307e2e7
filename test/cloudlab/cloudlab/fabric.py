"""Open vSwitch and OVN: the packet path, with the userspace datapath inside a namespace of its own.

No kernel module is needed, and nothing stands in the machine's own network stack. OVN's databases are reached by
unix sockets. Each provider network of the scenario is a bridge, joined to the world outside by a veth.
"""
import os

from . import processes
from .settings import path, run

SCHEMAS = {"conf": "/usr/share/openvswitch/vswitch.ovsschema", "nb": "/usr/share/ovn/ovn-nb.ovsschema",
           "sb": "/usr/share/ovn/ovn-sb.ovsschema"}
QUIET = ["-vconsole:warn", "-vsyslog:off"]


def environment():
    return {"OVS_RUNDIR": path("ovn"), "OVN_RUNDIR": path("ovn"), "OVS_DBDIR": path("ovn"),
            "OVS_LOGDIR": path("log"), "OVN_LOGDIR": path("log")}


def vsctl(*arguments):
    return run(["ovs-vsctl", "--timeout=20", "--db=unix:" + path("ovn/conf.sock"), *arguments], env=dict(os.environ, **environment()))


def sbctl(*arguments):
    return run(["ovn-sbctl", "--timeout=5", "--db=unix:" + path("ovn/sb.sock"), *arguments], env=dict(os.environ, **environment()))


def nbctl(*arguments):
    return run(["ovn-nbctl", "--timeout=10", "--db=unix:" + path("ovn/nb.sock"), *arguments], env=dict(os.environ, **environment()))


def leak(network, port, tcp):
    """Opens a TCP port beneath Neutron, as a filter does that does not filter: Neutron's own rules still deny it."""
    nbctl("--may-exist", "acl-add", f"neutron-{network}", "to-lport", "3000", leaking(port, tcp), "allow-related")


def mend(network, port, tcp):
    """Takes a leak away."""
    nbctl("acl-del", f"neutron-{network}", "to-lport", "3000", leaking(port, tcp))


def settle():
    """Waits until the packet path does what Neutron was asked for."""
    nbctl("--wait=hv", "sync")


def leaking(port, tcp):
    return f'outport == "{port}" && ip4 && tcp.dst == {int(tcp)}'


def start(scenario):
    providers = list(scenario.providers)
    mappings = ",".join(f"{name}:br-{name}" for name in providers)
    start_databases()
    vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=cloudlab", "external_ids:hostname=cloudlab",
          f"external_ids:ovn-remote=unix:{path('ovn/sb.sock')}", "external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=127.0.0.1",
          "external_ids:ovn-bridge-datapath-type=netdev", f"external_ids:ovn-bridge-mappings={mappings}",
          "external_ids:ovn-cms-options=enable-chassis-as-gw", "external_ids:ovn-monitor-all=true", "other_config:vlan-limit=1")
    env = environment()
    processes.spawn("ovs-vswitchd", ["ovs-vswitchd", "unix:" + path("ovn/conf.sock"), "--unixctl=" + path("ovn/vswitchd.ctl")] + QUIET,
                    env=env, inside="fabric")
    processes.spawn("ovn-northd", ["ovn-northd", "--ovnnb-db=unix:" + path("ovn/nb.sock"), "--ovnsb-db=unix:" + path("ovn/sb.sock"),
                                   "--unixctl=" + path("ovn/northd.ctl")] + QUIET, env=env)
    for name in providers:
        vsctl("--may-exist", "add-br", f"br-{name}", "--", "set", "bridge", f"br-{name}", "datapath_type=netdev", "fail-mode=standalone")
    processes.spawn("ovn-controller", ["ovn-controller", "unix:" + path("ovn/conf.sock")] + QUIET, env=env, inside="fabric")
    for name in providers:
        vsctl("--may-exist", "add-port", f"br-{name}", name)
    processes.wait("ovn chassis", lambda: f"br-{providers[-1]}" in sbctl("get", "chassis", "cloudlab", "other_config"), 30)
    # Debian 12 pairs Neutron 21, which reads these from external_ids, with OVN 23.03, which writes other_config only.
    sbctl("set", "chassis", "cloudlab", f'external_ids:ovn-bridge-mappings="{mappings}"',
          "external_ids:ovn-cms-options=enable-chassis-as-gw", "external_ids:datapath-type=netdev")


def start_databases():
    os.makedirs(path("ovn"), exist_ok=True)
    for name, schema in SCHEMAS.items():
        if not os.path.exists(path(f"ovn/{name}.db")):
            run(["ovsdb-tool", "create", path(f"ovn/{name}.db"), schema])
        processes.spawn(f"ovsdb-{name}", ["ovsdb-server", path(f"ovn/{name}.db"), "--remote=punix:" + path(f"ovn/{name}.sock"),
                                          "--unixctl=" + path(f"ovn/{name}.ctl")] + QUIET, env=environment())
    for name in SCHEMAS:
        processes.wait(f"ovsdb {name}", lambda: os.path.exists(path(f"ovn/{name}.sock")), 20, 0.05)


def tap(port):
    """The name of a port's end in the fabric."""
    return "tap" + port[:11]


def plug(port, mac):
    vsctl("--may-exist", "add-port", "br-int", tap(port), "--", "set", "Interface", tap(port), f"external_ids:iface-id={port}",
          "external_ids:attached-mac=" + mac.replace(":", r"\:"), "external_ids:iface-status=active")


def unplug(port):
    vsctl("--if-exists", "del-port", "br-int", tap(port))
