"""What every scenario shares in Keystone: the catalogue, the services' accounts, our roles and the policies that give them force."""
from .rest import API
from .settings import CINDER, PASSWORD, REGION, url

SERVICE_TYPE = {"keystone": "identity", "placement": "placement", "glance": "image",
                "nova": "compute", "neutron": "network", "cinder": "volumev3"}
ENDPOINT = {"placement": "", "glance": "", "nova": "/v2.1", "neutron": "", "cinder": "/v3"}  # Keystone's own comes with its bootstrap
ROLES = ("service", "cloud_auditor", "cloud_enforcer")

# What the product's accounts of the second model may do beyond the release's defaults. Both hold `reader`, inherited
# from the domain, in every project: Neutron, Cinder and single Nova servers are then read with one token per
# project, without admin. The enforcer's role is inherited too, and lets it stop, lock and quarantine in
# the token's project only. The overrides below also let either list what spans projects.
LIST = "role:cloud_auditor or role:cloud_enforcer"
ACT = "(role:cloud_enforcer and project_id:%(project_id)s)"
OVERRIDES = {
    "nova": {
        LIST: ["servers:index:get_all_tenants", "servers:detail:get_all_tenants", "os-keypairs:index", "os-keypairs:show"],
        ACT: ["servers:stop", "servers:start", "os-lock-server:lock", "os-lock-server:unlock", "os-pause-server:pause",
              "os-pause-server:unpause", "os-shelve:shelve", "os-shelve:unshelve", "server-metadata:create",
              "server-metadata:update", "server-metadata:delete"]},
    "neutron": {ACT: ["update_port", "create_security_group", "create_security_group_rule", "delete_security_group_rule"]},
    "keystone": {LIST: ["identity:" + name for name in (
        "list_projects", "get_project", "list_users", "get_user", "list_role_assignments", "list_roles", "list_domains", "get_domain",
        "list_groups", "list_users_in_group", "list_application_credentials", "list_credentials")]},
}


def roles(admin):
    return {role["name"]: role["id"] for role in admin.list("keystone", "/v3/roles")}


def make_project(admin, name, description=""):
    return admin.create("keystone", "/v3/projects", "project", name=name, domain_id="default", description=description)["id"]


def make_user(admin, name, **more):
    return admin.create("keystone", "/v3/users", "user", name=name, password=PASSWORD, domain_id="default", **more)["id"]


def bootstrap():
    """The services' accounts and catalogue: cached with the empty databases."""
    admin = API("admin", "admin")
    project = make_project(admin, "service")
    for role in set(ROLES) - set(roles(admin)):
        admin.create("keystone", "/v3/roles", "role", name=role)
    ids = roles(admin)
    for service, suffix in ENDPOINT.items():
        if service == "cinder" and not CINDER:
            continue
        user = make_user(admin, service)
        for role in ("admin", "service"):
            admin("PUT", "keystone", f"/v3/projects/{project}/users/{user}/roles/{ids[role]}")
        made = admin.create("keystone", "/v3/services", "service", name=service, type=SERVICE_TYPE[service])["id"]
        for interface in ("public", "internal", "admin"):
            admin.create("keystone", "/v3/endpoints", "endpoint", service_id=made, region_id=REGION, interface=interface, url=url(service, suffix))
