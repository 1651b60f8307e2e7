"""Debian's packages: libraries and daemons only, no service of theirs is enabled, configured or started."""
import os
import subprocess
import sys

from .settings import Failure, run, say, write

PACKAGES = """python3-keystone python3-placement python3-glance python3-nova python3-neutron python3-cinder
 python3-pymysql python3-memcache python3-cryptography python3-yaml uwsgi-core uwsgi-plugin-python3 mariadb-server rabbitmq-server
 memcached openvswitch-switch ovn-central ovn-host iproute2 nftables ethtool nmap nginx-light redis-server vsftpd
 snmpd openssh-server procps""".split()
POLICY = "/usr/sbin/policy-rc.d"


def install():
    missing = [x for x in PACKAGES if not run(["dpkg-query", "-W", "-f", "${Status}", x], check=False).endswith("ok installed")]
    if not missing:
        return say("all packages are installed")
    # Keep the packages' own daemons from starting; restore the machine's policy afterwards.
    had = os.path.exists(POLICY)
    if not had:
        write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)
    try:
        done = subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=900",
                               "-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Options::=--force-unsafe-io"] + missing,
                              env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"), stdout=sys.stderr)
    finally:
        if not had:
            os.unlink(POLICY)
    if done.returncode:
        raise Failure(f"apt-get install: exit {done.returncode}")
    say(f"{len(missing)} packages installed")
