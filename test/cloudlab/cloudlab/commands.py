"""cloudlab: a real OpenStack (Debian 12, Zed) with a real packet path, on one machine.

  testbed install           Debian packages (root; libraries and daemons, no service is enabled or configured)
  testbed up [SCENARIO]     start everything and fill it with a scenario, by default campus; nothing to do when it is up
  testbed env               print clouds.yaml: every account of the cloud by name
  testbed hosts             print servers, addresses and the services that answer in each
  testbed status [SCENARIO] what is up, its processes, memory, API latency; 1 unless a cloud (of that scenario) is up
  testbed examine           hold what is up against its scenario: the APIs, every port from every source, rules made and unmade
  testbed left              count what is left of a cloud: namespaces, links, processes; 1 if anything is
  testbed validate FILE     say what is wrong in a scenario; needs no privilege
  testbed bulk N            add N servers with a port each, rows only (Nova's and Neutron's tables), to test listings at scale;
                            bulk none takes them away
  testbed down              stop what `up` started, remove its network namespaces
  testbed reset [SCENARIO]  down, then up from the cached empty databases
  testbed leak NETWORK PORT TCP   open a TCP port of a Neutron port beneath Neutron, as a filter does that does not filter
  testbed mend NETWORK PORT TCP   take that away
  testbed settle            wait until the packet path does what Neutron was asked for
  testbed exec NS CMD...    run CMD at a vantage point, in the edge or the fabric, or in a server (h-<server>)

Exit status: 0 fine, 1 the answer is no, 2 no such command, 3 could not look.

Keystone, Placement, Glance, Nova, Neutron (ML2/OVN) and Cinder run as plain processes on 127.0.0.1. Nova uses a driver
of ours on top of its fake one: a server is a network namespace whose NICs are plugged in br-int, so OVN enforces
security groups, routes and does floating IPs. Open vSwitch runs with its userspace datapath inside a namespace of its
own: no kernel module and nothing in the machine's own network stack except a management veth for each vantage point.

Environment: CLOUDLAB_DIR (run dir), CLOUDLAB_PREFIX (namespace prefix), CLOUDLAB_PORT (first of 10 ports),
CLOUDLAB_SRBAC=1 (scope and new-default policies enforced as in newer releases, but in Neutron and Placement),
CLOUDLAB_CINDER=0 (leave Cinder out), CLOUDLAB_MGMT=0 (no management veths).
"""
import concurrent.futures
import fcntl
import functools
import inspect
import json
import os
import shutil
import sys
import time

from . import accounts, backing, bulk, configuration, examination, fabric, hosts, identity
from . import listeners, packages, population, processes, scenario as scenarios, services, world
from .rest import API, SERVERS
from .settings import PORT, RUN, Failure, namespace, path, read, run, say, write

NEEDED = ("mariadb", "rabbit", "keystone", "nova", "neutron", "nova-compute", "ovn-controller")
MADE = ("mysql", "rabbit", "ovn", "hosts", "pids", "images", "lock", "tmp")  # directories that `down` removes
MARKS = ("populated", "scenario", "scenario.yaml", "credentials.json", "clouds.yaml", "mysql.sock", "mysql.pid")


def in_turn(command):
    """Two who start or stop the cloud at once wait for each other."""
    @functools.wraps(command)
    def held(*arguments):
        if os.geteuid():
            raise Failure("needs root (network namespaces, Open vSwitch)")
        os.makedirs(RUN, exist_ok=True)
        if os.stat(RUN).st_uid != os.geteuid():  # what it holds says which processes are ours
            raise Failure(f"{RUN} belongs to another account: set CLOUDLAB_DIR")
        with open(path("turn"), "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            return command(*arguments)
    return held


def is_up():
    return all(processes.alive(name) for name in NEEDED) and os.path.exists(path("populated"))


def running():
    """The name of the scenario that is up, or None."""
    return read(path("scenario")).strip() if is_up() else None


def is_running(file):
    """A scenario is its content: one whose file has changed since is another."""
    return is_up() and running() == scenarios.title(file) and read(path("scenario.yaml")) == read(file)


def up(name=None):
    file = scenarios.find(name or "campus")
    if is_up():
        if name and not is_running(file):
            raise Failure(f"{running()} is up as it was then; take it down before {name} can be brought up")
        return say(f"{running()} is up already; run dir {RUN}")
    scenario = scenarios.load(file)
    clear()
    prepare(scenario, file)
    start_base(scenario)
    services.start_others()
    processes.wait("keystone", lambda: API("admin", "admin"), 90)
    population.populate(scenario)
    write(path("clouds.yaml"), accounts.clouds(scenario), 0o600)
    write(path("populated"), "ok\n")
    say(f"{scenario.name} is up: OS_CLIENT_CONFIG_FILE={path('clouds.yaml')}")


def clear():
    """Take down what an unfinished start left, and see that the ports are free."""
    if any(processes.alive(name) for name in processes.names()) or os.path.exists(path("mysql")):
        down()
    for name, port in PORT.items():
        if name not in ("epmd", "dist") and processes.listening(port):
            raise Failure(f"port {port} ({name}) is in use; set CLOUDLAB_PORT")


def prepare(scenario, file):
    os.makedirs(RUN, exist_ok=True)
    os.chmod(RUN, 0o755)  # daemons under other accounts read here
    shutil.copy(file, path("scenario.yaml"))
    write(path("scenario"), scenario.name + "\n")
    configuration.write_all()
    services.make_keys()
    backing.drop_stale_cache()


def start_base(scenario):
    """Everything up to a Keystone that answers and a message bus that listens."""
    world.start(scenario)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        database, switch = pool.submit(backing.start_mariadb), pool.submit(fabric.start, scenario)
        policies = pool.submit(configuration.write_policies)
        backing.start_rabbit()
        backing.start_memcached()
        cached = database.result()
        say("mariadb" + (" (cached databases)" if cached else ""))
        if not cached:
            backing.create_databases()
            for job in [pool.submit(sync) for sync in services.SCHEMAS]:
                job.result()
            say("schemas")
            services.bootstrap_keystone()
        switch.result()
        policies.result()
        say("ovn, ovs, policies")
    services.start_keystone()
    processes.wait("keystone", lambda: API("admin", "admin"), 90)
    if not cached:
        identity.bootstrap()
        processes.stop(["keystone"])
        backing.cache_databases()
        services.start_keystone()
    processes.wait("rabbit", lambda: processes.listening(PORT["rabbit"]), 90)
    say("keystone, rabbitmq")


def down():
    for group in hosts.groups():
        processes.stop(processes.names(group), group=group, grace=1)
    last = ("mariadb", "rabbit", "memcached", "epmd")
    processes.stop([name for name in processes.names() if name not in last])
    processes.stop(last[:3], grace=15)
    processes.stop(last[3:], grace=2)
    world.stop()
    for directory in MADE:
        shutil.rmtree(path(directory), ignore_errors=True)
    for mark in MARKS:
        if os.path.exists(path(mark)):
            os.unlink(path(mark))
    say("down")


def reset(name=None):
    """The scenario that is up again, unless another is named; what is named must be right before anything goes down."""
    name = name or running() or "campus"
    scenarios.load(scenarios.find(name))
    down()
    up(name)


def env():
    print(accounts.clouds(scenarios.active()), end="")


def leading(admin):
    """What leads to each port: floating IPs, and single ports of them."""
    out = {}
    for row in admin.list("neutron", "/v2.0/floatingips"):
        if row["port_id"]:
            out.setdefault(row["port_id"], []).append(row["floating_ip_address"])
            continue
        for forward in admin.list("neutron", f"/v2.0/floatingips/{row['id']}/port_forwardings"):
            out.setdefault(forward["internal_port_id"], []).append(f"{row['floating_ip_address']}:{forward['external_port']}/{forward['protocol']}")
    return out


def named(server):
    """The name that `exec` knows a server by, and what else there is to say where the cloud has another."""
    name = server["metadata"].get("lab_name", server["name"])
    return name, "" if name == server["name"] else "named " + json.dumps(server["name"], ensure_ascii=False)


def show_hosts():
    admin, scenario = API("admin", "admin"), scenarios.active()
    projects = {p["id"]: p["name"] for p in admin.list("keystone", "/v3/projects")}
    floating, ports = leading(admin), {}
    for port in admin.list("neutron", "/v2.0/ports"):
        ports.setdefault(port["device_id"], []).append(port)
    line = "{:10} {:10} {:10} {:15} {:44} {}"
    print(line.format("SERVER", "PROJECT", "STATUS", "FLOATING", "FIXED", "SERVICES"))
    for server in sorted(admin.list("nova", SERVERS), key=lambda s: (s["tenant_id"], s["name"])):
        if "lab_services" not in server["metadata"]:
            continue  # one of `bulk`
        own = ports.get(server["id"], [])
        name, also = named(server)
        print(line.format(name, projects.get(server["tenant_id"], "?"), server["status"],
                          ",".join(a for p in own for a in floating.get(p["id"], [])) or "-",
                          ",".join(i["ip_address"] for p in own for i in p["fixed_ips"]),
                          ",".join(filter(None, [server["metadata"]["lab_services"], server["metadata"].get("lab_firewall"), also]))))
    views = [f"{v.name} {' '.join(str(a.ip) for a in v.addresses)}" for v in scenario.vantages.values()]
    print(f"\n{scenario.name}, seen from {'; '.join(views)}")


def status(name=None):
    total = 0
    for process in processes.names():
        pid, _ = processes.recorded(process)
        lives = processes.alive(process)
        used = processes.memory(pid) if lives else 0
        total += used
        print(f"{process:16} {'up' if lives else 'DOWN':5} pid {pid:<8} {used:6} MiB")
    if not is_up():
        print("no cloud is up")
        return 1
    inside = sum(len(processes.names(group)) for group in hosts.groups())
    disk = run(["du", "-sm", RUN]).split()[0]
    print(f"{running()} is up; control plane {total} MiB; {inside} processes in servers; run dir {disk} MiB")
    began = time.monotonic()
    admin = API("admin", "admin")
    said = [f"token {1000 * (time.monotonic() - began):.0f} ms"]
    for service, route in (("nova", SERVERS), ("neutron", "/v2.0/ports"), ("keystone", "/v3/projects")):
        began = time.monotonic()
        admin("GET", service, route)
        said.append(f"{service}{route} {1000 * (time.monotonic() - began):.0f} ms")
    print("; ".join(said))
    return 0 if name is None or is_running(scenarios.find(name)) else 1


def left():
    found = {"namespaces": len(world.ours()), "links": len(world.management_links()), "processes": len(processes.ours())}
    print(json.dumps(found))
    return 1 if any(found.values()) else 0


def validate(name):
    try:
        scenario = scenarios.load(scenarios.find(name))
    except scenarios.Invalid as err:
        print(err)
        return 1
    print(f"{scenario.name}: {len(scenario.projects)} projects, {len(scenario.servers)} servers, {len(scenario.vantages)} vantage points")


def execute(where, program, *arguments):
    if not world.exists(where):
        have = " ".join(sorted(full.removeprefix(namespace("")) for full in world.ours())) or "none"
        raise Failure(f"there is no namespace {where}; there are {have}")
    os.execvp("ip", ["ip", "netns", "exec", namespace(where), program, *arguments])


VERBS = {"install": packages.install, "up": in_turn(up), "down": in_turn(down), "reset": in_turn(reset),
         "env": env, "hosts": show_hosts, "status": status, "examine": examination.examine, "left": left, "validate": validate,
         "bulk": bulk.add, "exec": execute, "leak": fabric.leak, "mend": fabric.mend, "settle": fabric.settle,
         # For the cloud's own use: the Nova driver's, the servers', the examination's.
         "_host_up": hosts.up, "_host_down": hosts.down,
         "_tarpit": listeners.tarpit, "_telnet": listeners.telnet, "_canned": listeners.canned, "_probe": listeners.probe}


def takes(function, arguments):
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True


def main(arguments):
    verb, rest = (arguments[0] if arguments else "help"), arguments[1:]
    if verb not in VERBS or not takes(VERBS[verb], rest):
        print(__doc__)
        return 0 if verb in ("help", "-h", "--help") else 2
    try:
        return VERBS[verb](*rest) or 0
    except Failure as err:
        print(f"testbed: {err}", file=sys.stderr)
        return 3
