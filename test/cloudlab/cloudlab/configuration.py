"""The services' configuration files, written into the run directory for one machine and loopback alone."""
import json
import os
import shutil
from textwrap import dedent

from . import identity
from .backing import database_url, rabbit_url
from .settings import HOME, PASSWORD, PORT, PYTHON, REGION, SRBAC, path, run, url, write

SERVICES = ("keystone", "placement", "glance", "nova", "neutron", "cinder")


def write_all():
    for name in ("etc", "log", "home", "tmp", "hosts", "images", "cache"):
        os.makedirs(path(name), exist_ok=True)
    for service in SERVICES:
        os.makedirs(path("state", service), exist_ok=True)
        os.makedirs(path("lock", service), exist_ok=True)
        if not os.path.exists(path("etc", service + "-policy.yaml")):
            write(path("etc", service + "-policy.yaml"), "{}\n")
        default, sections = CONTENT[service]()
        write(path("etc", service + ".conf"), shared(service, dedent(default).strip()) + dedent(sections))
    for service in ("glance", "nova", "neutron", "cinder"):
        shutil.copy(os.path.join(HOME, "etc", service + "-paste.ini"), path("etc"))


def file_arguments(service):
    return ["--config-file", path("etc", service + ".conf")]


def account(user):
    """How a service logs in at Keystone."""
    return dedent(f"""\
        auth_url = {url('keystone', '/v3')}
        auth_type = password
        username = {user}
        password = {PASSWORD}
        project_name = service
        user_domain_name = Default
        project_domain_name = Default
        region_name = {REGION}
        """)


def shared(service, default):
    """What every service's file holds, with its own lines for the section DEFAULT.

    `service_type` makes the middleware hold a request against an application credential's access rules; without it
    every token that has any is refused.
    """
    # Two are left on the old defaults, for in Zed the new ones are not representative: Neutron denies an admin other
    # projects' ports, Placement wants system scope.
    strict = str(SRBAC and service not in ("neutron", "placement"))
    return f"""\
[DEFAULT]
transport_url = {rabbit_url()}
use_stderr = true
debug = false
state_path = {path('state', service)}
rpc_response_timeout = 60
{default}
[database]
connection = {database_url(service)}
max_pool_size = 10
max_overflow = 40
[keystone_authtoken]
www_authenticate_uri = {url('keystone')}
memcached_servers = 127.0.0.1:{PORT['memcached']}
service_token_roles = service
service_token_roles_required = true
service_type = {identity.SERVICE_TYPE[service]}
{account(service)}
[oslo_concurrency]
lock_path = {path('lock', service)}
[oslo_policy]
enforce_scope = {strict}
enforce_new_defaults = {strict}
policy_file = {path('etc', service + '-policy.yaml')}
[oslo_messaging_notifications]
driver = messagingv2
topics = notifications
[oslo_messaging_rabbit]
heartbeat_in_pthread = false
"""


def keystone():
    return "", f"""
        [token]
        provider = fernet
        expiration = 14400
        [fernet_tokens]
        key_repository = {path('state/keystone/fernet')}
        [fernet_receipts]
        key_repository = {path('state/keystone/fernet')}
        [credential]
        key_repository = {path('state/keystone/credential')}
        [identity]
        password_hash_rounds = 4
        [cache]
        enabled = true
        backend = oslo_cache.memcache_pool
        memcache_servers = 127.0.0.1:{PORT['memcached']}
        """


def placement():
    return "", f"""
        [placement_database]
        connection = {database_url('placement')}
        sync_on_startup = true
        [api]
        auth_strategy = keystone
        """


def glance():
    return f"""
        bind_host = 127.0.0.1
        bind_port = {PORT['glance']}
        workers = 1
        enforce_secure_rbac = {SRBAC}
        enabled_backends = files:file
        """, f"""
        [glance_store]
        default_backend = files
        [files]
        filesystem_store_datadir = {path('images')}
        [os_glance_staging_store]
        filesystem_store_datadir = {path('tmp')}
        [os_glance_tasks_store]
        filesystem_store_datadir = {path('tmp')}
        [paste_deploy]
        flavor = keystone
        config_file = {path('etc/glance-paste.ini')}
        """


def nova():
    accounts = "".join(f"[{section}]\n{account(user)}{more}\n" for section, user, more in [
        ("neutron", "neutron", f"endpoint_override = {url('neutron')}"), ("placement", "placement", ""),
        ("cinder", "cinder", f"os_region_name = {REGION}"), ("service_user", "nova", "send_service_user_token = true")])
    return f"""
        host = cloudlab
        my_ip = 127.0.0.1
        osapi_compute_listen = 127.0.0.1
        osapi_compute_listen_port = {PORT['nova']}
        osapi_compute_workers = 2
        enabled_apis = osapi_compute
        compute_driver = cloudlab.NetnsDriver
        cpu_allocation_ratio = 64
        ram_allocation_ratio = 64
        disk_allocation_ratio = 64
        vif_plugging_is_fatal = false
        vif_plugging_timeout = 0
        shelved_offload_time = 0
        resume_guests_state_on_host_boot = false
        sync_power_state_interval = -1
        heal_instance_info_cache_interval = -1
        max_concurrent_builds = 8
        """, dedent(f"""
        [api_database]
        connection = {database_url('nova_api')}
        [api]
        auth_strategy = keystone
        [wsgi]
        api_paste_config = {path('etc/nova-paste.ini')}
        [scheduler]
        workers = 1
        discover_hosts_in_cells_interval = 300
        [conductor]
        workers = 1
        [quota]
        instances = -1
        cores = -1
        ram = -1
        [filter_scheduler]
        enabled_filters = ComputeFilter
        [notifications]
        notification_format = both
        notify_on_state_change = vm_and_task_state
        [glance]
        api_servers = {url('glance')}
        [upgrade_levels]
        compute = auto
        """) + accounts


def neutron():
    return f"""
        bind_host = 127.0.0.1
        bind_port = {PORT['neutron']}
        core_plugin = ml2
        service_plugins = ovn-router,port_forwarding,trunk
        api_workers = 2
        rpc_workers = 0
        api_paste_config = {path('etc/neutron-paste.ini')}
        dhcp_agent_notification = false
        notify_nova_on_port_status_changes = false
        notify_nova_on_port_data_changes = false
        global_physnet_mtu = 1500
        max_allowed_address_pair = 20
        pagination_max_limit = 1000
        """, f"""
        [quotas]
        default_quota = -1
        quota_network = -1
        quota_subnet = -1
        quota_port = -1
        quota_router = -1
        quota_floatingip = -1
        quota_security_group = -1
        quota_security_group_rule = -1
        [ml2]
        type_drivers = flat,geneve
        tenant_network_types = geneve
        mechanism_drivers = ovn
        extension_drivers = port_security
        [ml2_type_flat]
        flat_networks = *
        [ml2_type_geneve]
        vni_ranges = 1:65000
        max_header_size = 38
        [securitygroup]
        enable_security_group = true
        [ovn]
        ovn_nb_connection = unix:{path('ovn/nb.sock')}
        ovn_sb_connection = unix:{path('ovn/sb.sock')}
        ovn_metadata_enabled = false
        enable_distributed_floating_ip = false
        ovn_l3_scheduler = chance
        """


def cinder():
    return f"""
        osapi_volume_listen = 127.0.0.1
        osapi_volume_listen_port = {PORT['cinder']}
        osapi_volume_workers = 1
        auth_strategy = keystone
        api_paste_config = {path('etc/cinder-paste.ini')}
        enabled_backends = lab
        default_volume_type = plain
        host = cloudlab
        my_ip = 127.0.0.1
        glance_api_servers = {url('glance')}
        backup_driver = cinder.tests.fake_backup
        """, """
        [lab]
        volume_driver = cloudlab_volume.PaperVolumeDriver
        volume_backend_name = lab
        """


CONTENT = {"keystone": keystone, "placement": placement, "glance": glance, "nova": nova, "neutron": neutron, "cinder": cinder}

DEFAULTS = """
import importlib, json, sys
m = importlib.import_module(sys.argv[1])
rules = (getattr(m, 'list_rules', None) or m.list_policies)()
print(json.dumps({r.name: r.check_str for r in rules if hasattr(r, 'check_str')}))
"""
POLICY_MODULES = {"nova": "nova.policies", "neutron": "neutron.conf.policies", "keystone": "keystone.common.policies"}


def write_policies():
    """Each overridden rule is the release's own default, read from its code, or one of our roles."""
    for service, module in POLICY_MODULES.items():
        said = run([PYTHON, "-W", "ignore", "-c", DEFAULTS, module], env={"PATH": "/usr/bin:/bin", "HOME": path("home")})
        default = json.loads(said.strip().splitlines()[-1])
        prefix = "os_compute_api:" if service == "nova" else ""
        rules = {prefix + name: f"({default[prefix + name]}) or {role}"
                 for role, names in identity.OVERRIDES[service].items() for name in names}
        write(path("etc", service + "-policy.yaml"), json.dumps(rules, indent=1) + "\n")
