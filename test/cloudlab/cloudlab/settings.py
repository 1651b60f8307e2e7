"""Where the test cloud lives: its run directory, prefix, ports, and the names made from them."""
import os
import re
import subprocess
import textwrap
import time

HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TESTBED = os.path.join(HOME, "testbed")
SCENARIOS = os.path.join(HOME, "scenarios")
PYTHON = "/usr/bin/python3"  # Debian's interpreter: the OpenStack packages live there

RUN = os.path.abspath(os.environ.get("CLOUDLAB_DIR") or os.path.join(os.environ.get("TMPDIR") or "/tmp", "cloudlab"))
PREFIX = os.environ.get("CLOUDLAB_PREFIX", "cloudlab")
if not re.fullmatch(r"[a-z0-9]{1,9}", PREFIX):  # no prefix may begin another's names, and links have 15 letters
    raise SystemExit("testbed: CLOUDLAB_PREFIX is 1 to 9 letters and digits")
FIRST_PORT = int(os.environ.get("CLOUDLAB_PORT", "25000"))
SRBAC = os.environ.get("CLOUDLAB_SRBAC", "0") == "1"
CINDER = os.environ.get("CLOUDLAB_CINDER", "1") == "1"
MANAGEMENT = os.environ.get("CLOUDLAB_MGMT", "1") == "1"

PORT = {name: FIRST_PORT + i for i, name in enumerate(
    ["keystone", "placement", "glance", "nova", "neutron", "cinder", "rabbit", "memcached", "epmd", "dist"])}
PASSWORD = "cloudlab"  # every account's: the cloud listens on loopback only
REGION = "lab"
BEGAN = time.monotonic()


class Failure(Exception):
    """The cloud could not do what was asked; the text says why and where to look."""


class Hopeless(Failure):
    """What is waited for will never come."""


def path(*parts):
    """A path in the run directory."""
    return os.path.join(RUN, *parts)


def namespace(name):
    """The machine's name of one of our network namespaces."""
    return f"{PREFIX}-{name}"


def management_link(number):
    """The machine's end of a vantage point's management veth; a link's name has 15 characters at most."""
    return f"{PREFIX[:9]}-m{number}"


def url(service, suffix=""):
    return f"http://127.0.0.1:{PORT[service]}{suffix}"


def say(message):
    print(f"[{time.monotonic() - BEGAN:6.1f}s] {message}", flush=True)


def run(command, check=True, env=None, input=None):
    """Run a command (a list, or a string split on spaces) and return its stdout."""
    if isinstance(command, str):
        command = command.split()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, input=input)
    if check and done.returncode:
        raise Failure(f"{' '.join(command)}: exit {done.returncode}: {(done.stderr.strip() or done.stdout.strip())[-2000:]}")
    return done.stdout


def read(file):
    with open(file) as f:
        return f.read()


def write(file, text, mode=0o644):
    """Write a file with its final mode from the first byte on."""
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
        f.write(textwrap.dedent(text).lstrip("\n"))
    os.chmod(file, mode)


def listing(directory):
    """The names in a directory, none if it is not there."""
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []
