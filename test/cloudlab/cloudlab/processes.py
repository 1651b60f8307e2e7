"""Processes of ours: started, recorded by pid and start time, waited for, and stopped; nothing else is ever signalled."""
import os
import signal
import socket
import subprocess
import time

from .settings import FIRST_PORT, PREFIX, RUN, TESTBED, Failure, Hopeless, listing, namespace, path, read, write

PLUGINS = os.path.join(os.path.dirname(TESTBED), "plugins")


def start_time(pid):
    """Kernel start time of a live pid, or None: with the pid it names one process for good."""
    try:
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def environment():
    """What every process of ours finds around it. The repository stays free of byte code."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": path("home"), "LANG": "C.UTF-8", "TMPDIR": path("tmp"),
            "PYTHONPATH": PLUGINS, "PYTHONDONTWRITEBYTECODE": "1", "CLOUDLAB_TESTBED": TESTBED,
            "CLOUDLAB_DIR": RUN, "CLOUDLAB_PREFIX": PREFIX, "CLOUDLAB_PORT": str(FIRST_PORT)}


def spawn(name, command, env=None, inside=None, group="pids"):
    """Start a process in a session of its own, its output in log/<name>.log, and record it."""
    if alive(name, group):
        return
    if inside:
        command = ["ip", "netns", "exec", namespace(inside)] + command
    os.makedirs(path("log"), exist_ok=True)
    with open(path("log", name + ".log"), "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment() | (env or {}),
                                   cwd=RUN, start_new_session=True)
    write(path(group, name), f"{process.pid} {start_time(process.pid)}\n")


def recorded(name, group="pids"):
    """(pid, start time) as written down, or (None, None)."""
    try:
        pid, started = read(path(group, name)).split()
        return int(pid), started
    except (OSError, ValueError):
        return None, None


def alive(name, group="pids"):
    pid, started = recorded(name, group)
    return bool(pid) and start_time(pid) == started


def names(group="pids"):
    return listing(path(group))


def stop(which, group="pids", grace=8):
    """TERM, then KILL, the process groups recorded under these names."""
    live = []
    for name in which:
        pid, started = recorded(name, group)
        if pid and start_time(pid) == started:
            live.append((pid, started))
            signal_both(pid, signal.SIGTERM)
    end = time.monotonic() + grace
    while live and time.monotonic() < end:
        live = [(pid, started) for pid, started in live if start_time(pid) == started]
        time.sleep(0.1)
    for pid, _ in live:
        signal_both(pid, signal.SIGKILL)
    for name in which:
        if os.path.exists(path(group, name)):
            os.unlink(path(group, name))


def signal_both(pid, number):
    """The group as well as its leader: some daemons leave the group they were started in."""
    for kill in (os.killpg, os.kill):
        signal_one(pid, number, kill)


def signal_one(pid, number, kill=os.kill):
    try:
        kill(pid, number)
    except OSError:
        pass


def wait(what, ready, timeout=90, every=0.25):
    """Wait until ready() is true; an exception from it means not yet. A recorded process of that name must stay alive."""
    end = time.monotonic() + timeout
    while True:
        try:
            if ready():
                return
            last = "not ready"
        except Hopeless:
            raise
        except Exception as err:
            last = err
        if recorded(what)[0] and not alive(what):
            raise Failure(f"{what} died; see {path('log', what + '.log')}")
        if time.monotonic() > end:
            raise Failure(f"{what}: not ready after {timeout} s: {last}; see {path('log')}")
        time.sleep(every)


def listening(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def in_namespace(full):
    """The pids in a network namespace of ours."""
    out = subprocess.run(["ip", "netns", "pids", full], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return [int(pid) for pid in out.split()]


def ours():
    """The pids of all processes that `spawn` started and of their children, by their environment, which nothing else has."""
    marks, found = {f"CLOUDLAB_DIR={RUN}".encode(), f"CLOUDLAB_TESTBED={TESTBED}".encode()}, []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if marks <= set(f.read().split(b"\0")):
                    found.append(int(pid))
        except OSError:
            continue
    return found


def memory(session):
    """Proportional memory of a session's processes, in MiB."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(read(f"/proc/{pid}/stat").rpartition(")")[2].split()[3]) == session:
                shares = read(f"/proc/{pid}/smaps_rollup").splitlines()
                total += next(int(line.split()[1]) for line in shares if line.startswith("Pss:"))
        except (OSError, StopIteration, IndexError):
            continue
    return total // 1024
