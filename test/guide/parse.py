"""Asks the real OpenStack client whether it understands every command that the pages of guidance show.

No cloud is needed: the client's own parser reads each command line and nothing is run. A command that is not known, an option
that is wrong or missing and a value outside a closed list are refused, with the page and line they stand on.
Exit status: 0 fine, 1 something was refused, 3 could not look.
"""

import contextlib
import glob
import io
import json
import os
import re
import shlex
import sys

try:
    from openstackclient import shell as client
except ImportError as e:
    print(f"the OpenStack client is not installed for {sys.executable}: {e}")
    sys.exit(3)

PAGES = ["internal/duty/guidance/*.md", "internal/detect/checks/guidance/*.md"]
# The services whose commands a page may show: what Debian's python3-openstackclient knows by itself.
GROUPS = ["openstack.cli", "openstack.common", "openstack.compute.v2", "openstack.network.v2", "openstack.identity.v3",
          "openstack.image.v2", "openstack.volume.v3", "openstack.object_store.v1",
          "openstack.neutronclient.v2"]  # the last one: VPN as a service, of python3-neutronclient

# What must be refused, and what must not, before the pages are asked: a parser that says yes to all is none.
REFUSED = ["openstack server lst", "openstack server list --al-projects", "openstack server list --all-proj",
           "openstack port set --no-such-option x PORT",
           "openstack security group rule create", "openstack volume create --size big VOLUME",
           "openstack security group rule create --ethertype IPv5 GROUP", "openstack", "openstack server list extra words",
           "openstack --os-clod campus server list", "demarc case list"]
UNDERSTOOD = ["openstack server list --all-projects --long", "openstack --os-cloud campus port show -f json PORT",
              "openstack security group rule create --ingress --protocol tcp --dst-port 22 --remote-ip 198.51.100.0/24 GROUP"]


class Manager:
    """Stands for the connection to a cloud: it says only that every service is there."""

    def __getattr__(self, name):
        if name.startswith("is_") and name.endswith("_endpoint_enabled"):
            return lambda *_: True
        raise AttributeError(f"a parser asked the cloud for {name}")


class Client:
    """The real client's parsers."""

    def __init__(self):
        self.shell = client.OpenStackShell()
        for group in GROUPS:
            self.shell.command_manager.add_command_group(group)
        self.shell.client_manager = Manager()

    def refusal(self, line):
        """Says why the client refuses a command line, or nothing."""
        try:
            words = shlex.split(line)
        except ValueError as e:
            return str(e)
        if words[:1] != ["openstack"]:
            return "this is no command of the OpenStack client"
        heard = io.StringIO()
        try:
            with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(heard):
                _, rest = self.shell.parser.parse_known_args(words[1:])
                if not rest:
                    return "there is no command here"
                factory, name, args = self.shell.command_manager.find_command(rest)
                parser = factory(self.shell, None, cmd_name=name).get_parser("openstack " + name)
                parser.allow_abbrev = False  # a shortened option is another one in another release
                parser.parse_args(args)
        except SystemExit as e:
            if e.code:
                return (heard.getvalue().strip().splitlines() or ["refused"])[-1]
        except ValueError as e:  # cliff: not a known command
            return str(e).strip().splitlines()[0]
        return None


def commands(path):
    """Gives the place and text of every command on a page: the lines of console blocks, and spans in the text."""
    block, held, begun = None, "", 0
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.rstrip("\n")
        if line.lstrip().startswith("```"):
            if held:
                yield begun, held
                held = ""
            block = line.strip()[3:] if block is None else None
        elif block == "console" and line.strip():
            begun = begun if held else number
            held += line.strip()
            if held.endswith("\\"):
                held = held[:-1] + " "
            else:
                yield begun, held
                held = ""
        elif block is None:
            for span in re.findall(r"`(openstack [^`]+)`", line):
                yield number, span


def self_test(asked):
    """Tells what the parser takes for right though it is wrong, and the reverse."""
    return ([f"self-test: taken for right: {line}" for line in REFUSED if not asked.refusal(line)]
            + [f"self-test: {line}: {asked.refusal(line)}" for line in UNDERSTOOD if asked.refusal(line)])


def main():
    asked = Client()
    wrong = self_test(asked)
    pages = sorted(p for pattern in PAGES for p in glob.glob(pattern))
    count = 0
    for page in pages:
        shown = list(commands(page))
        count += len(shown)
        for number, line in shown:
            why = asked.refusal(line)
            if why:
                wrong.append(f"{page}:{number}: {line}\n    {why}")
    for w in wrong:
        print(w)
    if not pages or not count:
        print("no page or no command was found; run this from the top of the tree")
        return 3
    print(json.dumps({"pages": len(pages), "commands": count, "selftests": len(REFUSED) + len(UNDERSTOOD), "refused": len(wrong)}))
    return 1 if wrong else 0


if __name__ == "__main__":
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    sys.exit(main())
