"""The product's own accounts in the cloud, in a project `security` of their own, and clouds.yaml, which names all accounts.

Two models of deployment stand side by side. In the first, one service user holds `admin` in one project and hands the
product two application credentials, each held to the calls it needs by access rules. In the second, the users
`auditor` and `enforcer` hold roles inherited from the domain and take a token for each project.
"""
import datetime
import json

from . import identity
from .rest import API
from .settings import PASSWORD, REGION, path, read, say, url, write

PROJECT = "security"
READ_ALL = [(service, "GET", route) for service, route in (
    ("compute", "/v2.1/**"), ("network", "/v2.0/**"), ("image", "/v2/**"), ("identity", "/v3/**"), ("volumev3", "/v3/**"))]
# What restricting a server takes: to see who holds an address now, and to act on the server, its ports and our groups.
ENFORCE = [("compute", "GET", "/v2.1/servers"), ("compute", "GET", "/v2.1/servers/detail"), ("compute", "GET", "/v2.1/servers/*"),
           ("compute", "GET", "/v2.1/servers/*/os-instance-actions"), ("compute", "GET", "/v2.1/servers/*/os-instance-actions/*"),
           ("compute", "POST", "/v2.1/servers/*/action"), ("network", "PUT", "/v2.0/ports/*"),
           ("network", "POST", "/v2.0/security-groups"), ("network", "PUT", "/v2.0/security-groups/*"),
           ("network", "POST", "/v2.0/security-group-rules"), ("network", "DELETE", "/v2.0/security-group-rules/*")] + [
    ("network", "GET", f"/v2.0/{kind}{suffix}") for suffix in ("", "/*")
    for kind in ("ports", "networks", "security-groups", "security-group-rules", "floatingips")] + [("network", "GET", "/v2.0/floatingips/*/port_forwardings")]
CREDENTIALS = {"demarc-inventory": READ_ALL, "demarc-enforce": ENFORCE}
EXPIRED = "demarc-expired"


def make(admin):
    """The users, their roles, the credentials; the secrets are kept in the run directory."""
    ids = identity.roles(admin)
    security = identity.make_project(admin, PROJECT, "The accounts of those who watch over the cloud")
    for name, role in (("auditor", "cloud_auditor"), ("enforcer", "cloud_enforcer"), ("reader", "reader"), ("demarc", "admin")):
        user = identity.make_user(admin, name, email=f"{name}@security.example")
        admin("PUT", "keystone", f"/v3/projects/{security}/users/{user}/roles/{ids[role]}")
        if name not in ("auditor", "enforcer"):
            continue
        admin("PUT", "keystone", f"/v3/system/users/{user}/roles/{ids['reader']}")
        for inherited in ["reader"] + (["cloud_enforcer"] if name == "enforcer" else []):
            admin("PUT", "keystone", f"/v3/OS-INHERIT/domains/default/users/{user}/roles/{ids[inherited]}/inherited_to_projects")
    owner = API("demarc", PROJECT)  # only the user itself may make them
    made = {name: make_credential(owner, name, rules) for name, rules in CREDENTIALS.items()}
    soon = datetime.datetime.utcnow() + datetime.timedelta(seconds=3)
    made[EXPIRED] = make_credential(owner, EXPIRED, READ_ALL, expires_at=soon.isoformat())
    write(path("credentials.json"), json.dumps(made), 0o600)
    say("the product's accounts")


def make_credential(owner, name, rules, **more):
    made = owner.create("keystone", f"/v3/users/{owner.user}/application_credentials", "application_credential",
                        name=name, unrestricted=False, roles=[{"name": "admin"}], **more,
                        access_rules=[dict(service=service, method=method, path=route) for service, method, route in rules])
    return {"id": made["id"], "secret": made["secret"]}


def credentials():
    return json.loads(read(path("credentials.json")))


def clouds(scenario):
    """clouds.yaml: every account by the name an OpenStack client is given."""
    projects = list(scenario.projects.values())
    out = entry("admin", "admin", "admin") + entry("admin-system", "admin")
    for user in ("auditor", "enforcer"):
        out += entry(user, user, PROJECT) + entry(user + "-system", user)
        out += "".join(entry(f"{user}-{project.name}", user, project.title) for project in projects)
    out += entry("reader", "reader", PROJECT)
    out += "".join(entry(user, user, project.title) for project in scenario.projects.values() for user in project.users)
    out += "".join(credential_entry(name, **made) for name, made in credentials().items())
    return "clouds:\n" + out


def entry(name, user, project=None):
    """A user with a token for one project, or for the system."""
    scope = f"project_name: {json.dumps(project)}\n      project_domain_name: Default" if project else "system_scope: all"
    return f"""\
  {name}:
    region_name: {REGION}
    identity_api_version: 3
    auth:
      auth_url: {url('keystone', '/v3')}
      username: {user}
      password: {PASSWORD}
      user_domain_name: Default
      {scope}
"""


def credential_entry(name, id, secret):
    return f"""\
  {name}:
    region_name: {REGION}
    identity_api_version: 3
    auth_type: v3applicationcredential
    auth:
      auth_url: {url('keystone', '/v3')}
      application_credential_id: "{id}"
      application_credential_secret: "{secret}"
"""
