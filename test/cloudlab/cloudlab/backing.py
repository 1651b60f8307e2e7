"""What the services stand on: MariaDB, RabbitMQ, memcached; and the cache of empty databases."""
import hashlib
import os
import shutil

from . import identity, processes
from .settings import CINDER, FIRST_PORT, PORT, PREFIX, RUN, path, read, run, write

DATABASES = ["keystone", "placement", "glance", "nova_api", "nova", "nova_cell0", "neutron", "cinder"]

# Durability is off on purpose: the cloud's state is disposable.
MARIADB = ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--sync-frm=0", "--innodb-doublewrite=0",
           "--innodb-log-file-size=64M", "--innodb-buffer-pool-size=256M", "--skip-log-bin", "--skip-name-resolve",
           "--skip-networking", "--max-connections=800", "--performance-schema=off"]


def database_url(name):
    return f"mysql+pymysql://root@localhost/{name}?unix_socket={path('mysql.sock')}&charset=utf8mb4"


def rabbit_url():
    return f"rabbit://guest:guest@127.0.0.1:{PORT['rabbit']}/"


def sql(statement):
    return run(["mariadb", "--no-defaults", "-uroot", "-S", path("mysql.sock"), "-N"], input=statement)


def start_mariadb():
    """Start it on the cached databases, or on new ones; True if they were cached."""
    cached = os.path.exists(path("cache/mysql.tar"))
    if not os.path.exists(path("mysql/mysql")):
        os.makedirs(path("mysql"), exist_ok=True)
        if cached:
            run(["tar", "-C", path("mysql"), "-xf", path("cache/mysql.tar")])
        else:
            run(["mariadb-install-db", "--no-defaults", "--user=root", "--auth-root-authentication-method=normal",
                 "--skip-test-db", "--datadir=" + path("mysql")])
    processes.spawn("mariadb", ["mariadbd", "--no-defaults", "--user=root", "--datadir=" + path("mysql"), "--socket=" + path("mysql.sock"),
                                "--pid-file=" + path("mysql.pid"), "--tmpdir=" + path("tmp")] + MARIADB)
    processes.wait("mariadb", lambda: sql("select 1"), 60)
    return cached


def create_databases():
    sql("".join(f"create database if not exists {name} character set utf8mb3;" for name in DATABASES))


def cache_key():
    """Cached databases are good only for the same packages, paths, ports and service accounts.

    They hold what every scenario shares, and nothing of any: schemas, the catalogue, the services' accounts.
    """
    packages = run("dpkg-query -W python3-keystone python3-nova python3-neutron python3-cinder python3-glance mariadb-server")
    return hashlib.sha256("\0".join([packages, RUN, str(FIRST_PORT), str(CINDER), read(identity.__file__)]).encode()).hexdigest()


def drop_stale_cache():
    if not os.path.exists(path("cache/key")) or read(path("cache/key")) != cache_key():
        shutil.rmtree(path("cache"), ignore_errors=True)
    os.makedirs(path("cache"), exist_ok=True)


def cache_databases():
    """Keep the databases as they are now; MariaDB is stopped for it and started again."""
    sql("set global innodb_fast_shutdown=0")
    processes.stop(["mariadb"], grace=60)
    run(["tar", "-C", path("mysql"), "-cf", path("cache/mysql.tar.new"), "."])
    os.rename(path("cache/mysql.tar.new"), path("cache/mysql.tar"))
    write(path("cache/key"), cache_key())
    start_mariadb()


def start_rabbit():
    write(path("etc/rabbitmq.conf"), f"""
        listeners.tcp.1 = 127.0.0.1:{PORT['rabbit']}
        log.file = false
        log.console = true
        log.console.level = warning
        """)
    write(path("etc/rabbitmq-plugins"), "[].\n")
    env = {"RABBITMQ_NODENAME": f"{PREFIX}@localhost", "RABBITMQ_MNESIA_BASE": path("rabbit"), "RABBITMQ_LOG_BASE": path("log"),
           "RABBITMQ_CONFIG_FILE": path("etc/rabbitmq"), "RABBITMQ_ENABLED_PLUGINS_FILE": path("etc/rabbitmq-plugins"),
           "RABBITMQ_CONF_ENV_FILE": "/dev/null", "RABBITMQ_DIST_PORT": str(PORT["dist"]),
           "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
           "ERL_EPMD_PORT": str(PORT["epmd"]), "ERL_EPMD_ADDRESS": "127.0.0.1"}
    processes.spawn("epmd", ["epmd", "-port", str(PORT["epmd"]), "-address", "127.0.0.1"])
    processes.spawn("rabbit", ["/usr/lib/rabbitmq/bin/rabbitmq-server"], env=env)


def start_memcached():
    processes.spawn("memcached", ["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(PORT["memcached"]), "-m", "64", "-U", "0"])
