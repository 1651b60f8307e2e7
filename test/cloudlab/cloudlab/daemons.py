"""What may run in a server: real daemons, and a few listeners of our own.

A scenario names a service as `web`, or as `web:8080` where it should listen elsewhere than on its usual port.
"""
import json
import os
import re

from .settings import PYTHON, TESTBED, path, write

USUAL_PORT = {"ssh": 22, "web": 80, "https": 443, "https-expired": 443, "redis": 6379, "memcached": 11211, "telnet": 23, "ftp": 21,
              "snmp": 161, "tarpit": 1}
SEEN_AS = {  # what a scan should see
    "ssh": "OpenSSH with passwords allowed", "web": "nginx", "https": "nginx with a valid self-signed certificate",
    "https-expired": "nginx with a certificate that expired in 2021", "redis": "Redis without a password", "memcached": "memcached",
    "telnet": "telnet's negotiation and a login prompt", "ftp": "vsftpd, anonymous allowed", "snmp": "snmpd with the community public",
    "tarpit": "every TCP port accepts and never answers"}
FIREWALLS = {"drop-scanners": "drop", "reject-scanners": "meta l4proto tcp reject with tcp reset"}


def split(service, own={}):
    """(kind, port) of a service as a scenario names it; `own` are those that the scenario defines."""
    kind, _, port = service.partition(":")
    return kind, int(port) if port else own[kind].port if kind in own else USUAL_PORT[kind]


def command(host, service, own={}):
    """The command of a service on a host, its files written next to the host's description."""
    kind, port = split(service, own)
    directory = path("hosts", host["uuid"])
    os.makedirs(directory, exist_ok=True)
    if kind in own:
        return own_command(own[kind], host, directory, port)
    return COMMANDS[kind](host["name"], directory, str(port))


def own_command(service, host, directory, port):
    """The command of a service that the scenario defines; in its words {port}, {name} and {directory} are replaced."""
    if service.command:
        values = {"{port}": str(port), "{name}": host["name"], "{directory}": directory}
        return [re.sub(r"\{(port|name|directory)\}", lambda found: values[found[0]], word) for word in service.command]
    file = f"{directory}/{service.name}-{port}.json"
    write(file, json.dumps({"greeting": service.greeting, "answer": service.answer}))
    return [PYTHON, TESTBED, "_canned", str(port), file]


def ssh(name, directory, port):
    os.makedirs("/run/sshd", exist_ok=True)
    return ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", port, "-h", path("state/ssh_host_key"),
            "-o", "PidFile=none", "-o", "UsePAM=no", "-o", "PasswordAuthentication=yes"]


def nginx(certificate=None):
    def command(name, directory, port):
        scratch = "".join(f"{kind}_temp_path {directory}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        ssl, keys = "", ""
        if certificate:
            file = path("state", certificate)
            ssl, keys = " ssl", f"ssl_certificate {file}.crt; ssl_certificate_key {file}.key;"
        write(f"{directory}/nginx-{port}.conf", f"""\
daemon off; error_log stderr; pid {directory}/nginx-{port}.pid;
events {{ worker_connections 64; }}
http {{
  access_log off; {scratch}
  server {{
    listen {port}{ssl}; listen [::]:{port}{ssl} ipv6only=on; {keys}
    location / {{ default_type text/html; return 200 '<title>{name}</title>It works'; }}
  }}
}}
""")
        return ["nginx", "-e", "stderr", "-p", directory, "-c", f"{directory}/nginx-{port}.conf"]
    return command


def redis(name, directory, port):
    return ["redis-server", "--port", port, "--bind", "*", "-::*", "--protected-mode", "no", "--save", "", "--dir", directory]


def memcached(name, directory, port):
    return ["memcached", "-u", "root", "-m", "16", "-U", "0", "-p", port]


def telnet(name, directory, port):
    return [PYTHON, TESTBED, "_telnet", port, name]


def tarpit(name, directory, port):
    return [PYTHON, TESTBED, "_tarpit", port]


def ftp(name, directory, port):
    for part in ("empty", "pub"):
        os.makedirs(f"{directory}/{part}", exist_ok=True)
    write(f"{directory}/ftp.conf", f"""\
listen=YES
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
anon_root={directory}/pub
secure_chroot_dir={directory}/empty
ftp_username=nobody
seccomp_sandbox=NO
""")
    return ["vsftpd", f"{directory}/ftp.conf"]


def snmp(name, directory, port):
    write(f"{directory}/snmpd.conf", f"rocommunity public\nagentAddress udp:{port}\nsysName {name}\n")
    return ["snmpd", "-f", "-Le", "-C", "-c", f"{directory}/snmpd.conf", "-p", f"{directory}/snmpd.pid"]


COMMANDS = {"ssh": ssh, "web": nginx(), "https": nginx("valid"), "https-expired": nginx("expired"), "redis": redis, "memcached": memcached,
            "telnet": telnet, "ftp": ftp, "snmp": snmp, "tarpit": tarpit}


def firewall(kind, services, scanners):
    """The guest's own packet filter, in nftables' words; nothing if it has none."""
    chains = ""
    if "tarpit" in services:
        chains += f"chain pre {{ type nat hook prerouting priority -100; tcp dport 1-65535 redirect to :{USUAL_PORT['tarpit']}; }}\n"
    if kind:
        sources = {"ip": [str(a) for a in scanners if a.version == 4], "ip6": [str(a) for a in scanners if a.version == 6]}
        rules = " ".join(f"{family} saddr {{ {', '.join(found)} }} {FIREWALLS[kind]};" for family, found in sources.items() if found)
        chains += f"chain in {{ type filter hook input priority 0; {rules} }}\n"
    return f"table inet guest {{ {chains} }}\n" if chains else ""
