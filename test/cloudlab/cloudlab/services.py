"""OpenStack's own processes: schemas, then keys, then the daemons."""
import base64
import datetime
import os
import shutil
import subprocess

from . import processes
from .backing import database_url
from .configuration import file_arguments
from .settings import CINDER, PASSWORD, PORT, PYTHON, REGION, RUN, Failure, path, run, url, write


def manage(module, *arguments, service=None):
    """Run an OpenStack management command through the library's own entry point."""
    project = module.split(".")[0]
    code = f"import sys; sys.argv[0] = '{project}-manage'; from {module} import main; sys.exit(main())"
    log = path("log", project + "-manage.log")
    with open(log, "a") as err:
        done = subprocess.run([PYTHON, "-c", code, *file_arguments(service or project), *arguments], env=processes.environment(),
                              stdout=subprocess.PIPE, stderr=err, text=True, cwd=RUN)
    if done.returncode:
        raise Failure(f"{module} {' '.join(arguments)}: exit {done.returncode}; see {log}\n{done.stdout[-1500:]}")


def sync_nova():
    for arguments in (["api_db", "sync"], ["cell_v2", "map_cell0", "--database_connection", database_url("nova_cell0")],
                      ["cell_v2", "create_cell", "--name", "cell1"], ["db", "sync"]):
        manage("nova.cmd.manage", *arguments)


# Placement's comes with its first start. The slowest stand first.
SCHEMAS = [lambda: manage("neutron.db.migration.cli", "upgrade", "heads"), sync_nova,
           lambda: manage("keystone.cmd.manage", "db_sync"), lambda: manage("glance.cmd.manage", "db", "sync")]
if CINDER:
    SCHEMAS.append(lambda: manage("cinder.cmd.manage", "db", "sync"))


def discover_hosts():
    manage("nova.cmd.manage", "cell_v2", "discover_hosts")


def bootstrap_keystone():
    where = [f"--bootstrap-{kind}-url" for kind in ("admin", "internal", "public")]
    manage("keystone.cmd.manage", "bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", REGION,
           *[x for option in where for x in (option, url("keystone", "/v3"))])


def python_service(name, module, service, program=None):
    code = f"import sys; sys.argv[0] = {(program or name)!r}; from {module} import main; sys.exit(main())"
    processes.spawn(name, [PYTHON, "-c", code] + file_arguments(service))


def uwsgi_service(name, workers, variable):
    """Keystone and Placement read a directory of configuration files, named by a variable."""
    directory = path("etc", name)
    os.makedirs(directory, exist_ok=True)
    shutil.copy(path("etc", name + ".conf"), directory)
    processes.spawn(name, ["uwsgi", "--plugins", "python3", "--http-socket", f"127.0.0.1:{PORT[name]}",
                           "--wsgi-file", os.path.join(processes.PLUGINS, f"wsgi_{name}.py"), "--master", "--processes", str(workers),
                           "--threads", "1", "--enable-threads", "--die-on-term", "--need-app", "--buffer-size", "65535",
                           "--add-header", "Connection: close", "--disable-logging", "--thunder-lock", "--lazy-apps"],
                    env={variable: directory})


def start_keystone():
    uwsgi_service("keystone", 2, "OS_KEYSTONE_CONFIG_DIR")


def start_others():
    uwsgi_service("placement", 1, "OS_PLACEMENT_CONFIG_DIR")
    python_service("neutron", "neutron.cmd.eventlet.server", "neutron", "neutron-server")
    python_service("nova", "nova.cmd.api", "nova", "nova-api")
    python_service("nova-conductor", "nova.cmd.conductor", "nova")
    python_service("nova-scheduler", "nova.cmd.scheduler", "nova")
    processes.spawn("nova-compute", [PYTHON, os.path.join(processes.PLUGINS, "compute_main.py")] + file_arguments("nova"))
    python_service("glance", "glance.cmd.api", "glance", "glance-api")
    for part in ("api", "scheduler", "volume") if CINDER else ():
        name = "cinder" if part == "api" else "cinder-" + part
        processes.spawn(name, [PYTHON, os.path.join(processes.PLUGINS, "cinder_main.py"), part] + file_arguments("cinder"))


def make_keys():
    """Keystone's keys; one SSH host key and two certificates (one long expired) for the servers."""
    for kind in ("fernet", "credential"):
        for number in ("0", "1"):
            file = path("state/keystone", kind, number)
            if not os.path.exists(file):
                write(file, base64.urlsafe_b64encode(os.urandom(32)).decode(), 0o600)
    if not os.path.exists(path("state/ssh_host_key")):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path("state/ssh_host_key")])
    now = datetime.datetime.utcnow()
    make_certificate("expired", datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1))
    make_certificate("valid", now - datetime.timedelta(days=1), now + datetime.timedelta(days=365))


def make_certificate(name, begins, ends):
    from cryptography import x509  # here, for it is slow to load and seldom needed
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    if os.path.exists(path("state", name + ".crt")):
        return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{name}.lab.example")])
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends).sign(key, hashes.SHA256()))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write(path("state", name + ".key"), private.decode(), 0o600)
    write(path("state", name + ".crt"), certificate.public_bytes(serialization.Encoding.PEM).decode())
