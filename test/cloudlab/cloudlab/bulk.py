"""Thousands of servers as rows alone: a template's, cloned in Nova's and Neutron's tables; the APIs see them, OVN does not."""
import time

from . import processes
from .backing import sql
from .rest import API
from .settings import say

SERVER = "concat(lpad(hex(seq),8,'0'),'-b01d-4000-8000-000000000000')"
PORT = "concat(lpad(hex(seq),8,'0'),'-b01d-4000-9000-000000000000')"
MAC = "concat('fa:17:',insert(insert(insert(lower(lpad(hex(seq),8,'0')),3,0,':'),6,0,':'),9,0,':'))"
ADDRESS = "inet_ntoa(inet_aton('10.65.0.0')+seq)"
NAME = "concat('bulk-',seq)"


def add(count):
    """Add so many servers with a port each, or, with "none", take all away again, for a cloud that others use too."""
    if count == "none":
        return remove()
    count = int(count)
    have = int(sql("select count(*) from nova.instances where display_name like 'bulk-%' and deleted=0").strip())
    if not have:
        make_template(API("admin", "admin"))
        have = 1
    server = sql("select uuid from nova.instances where display_name='bulk-template' and deleted=0").strip()
    port = sql(f"select id from neutron.ports where device_id='{server}'").strip()
    address = sql(f"select ip_address from neutron.ipallocations where port_id='{port}'").strip()
    attributes = sql(f"select standard_attr_id from neutron.ports where id='{port}'").strip()
    base = int(sql("select max(id) from neutron.standardattributes").strip())
    numbers = f"seq_{have}_to_{have + count - 1}"
    clones = [
        # Changed last one a minute, as machines of a real cloud are, and not all at once; on a host of their own, for the one
        # there is looks after all that are on it.
        clone("nova.instances", numbers, f"t.uuid='{server}'", uuid=SERVER, display_name=NAME, hostname=NAME, host="'bulk'", node="'bulk'",
              updated_at="date_sub(utc_timestamp(), interval seq minute)"),
        clone("nova.instance_extra", numbers, f"t.instance_uuid='{server}'", instance_uuid=SERVER),
        clone("nova.instance_info_caches", numbers, f"t.instance_uuid='{server}'", instance_uuid=SERVER,
              network_info=f"replace(replace(t.network_info,{quoted(repr(address))},{quoted(ADDRESS)}),'{port}',{PORT})"),
        clone("nova_api.instance_mappings", numbers, f"t.instance_uuid='{server}'", instance_uuid=SERVER),
        clone("neutron.standardattributes", numbers, f"t.id={attributes}", id=f"{base}+seq"),
        clone("neutron.ports", numbers, f"t.id='{port}'", id=PORT, name=NAME, standard_attr_id=f"{base}+seq",
              device_id=SERVER, mac_address=MAC),
        clone("neutron.ipallocations", numbers, f"t.port_id='{port}'", port_id=PORT, ip_address=ADDRESS)]
    clones += [clone("neutron." + table, numbers, f"t.port_id='{port}'", port_id=PORT)
               for table in ("portsecuritybindings", "securitygroupportbindings", "ml2_port_bindings")]
    began = time.monotonic()
    sql("use neutron; start transaction; " + "; ".join(clones) + "; commit")
    say(f"{count} servers and ports added in {time.monotonic() - began:.1f} s ({have + count} in all)")


def remove():
    """Take away what `add` added."""
    ports, servers = "like '%-b01d-4000-9000-000000000000'", "like '%-b01d-4000-8000-000000000000'"
    sql("create temporary table neutron.bulk_attributes (primary key (id)) select standard_attr_id id from neutron.ports where id " + ports + "; use neutron; start transaction; "
        + "; ".join(f"delete from {table} where port_id {ports}" for table in ("ipallocations", "portsecuritybindings", "securitygroupportbindings", "ml2_port_bindings"))
        + f"; delete from ports where id {ports}; delete a from standardattributes a join bulk_attributes b on a.id = b.id"
        + "".join(f"; delete from {table} where {column} {servers}" for table, column in (
            ("nova.instance_extra", "instance_uuid"), ("nova.instance_info_caches", "instance_uuid"), ("nova_api.instance_mappings", "instance_uuid"),
            ("nova.instances", "uuid"))) + "; commit")
    admin = API("admin", "admin")
    for server in admin.list("nova", "/v2.1/servers?all_tenants=1&name=bulk-template"):
        # one whose deletion got lost is not deleted by asking once more
        admin("POST", "nova", "/v2.1/servers/" + server["id"] + "/action", {"os-resetState": {"state": "active"}})
        admin("DELETE", "nova", "/v2.1/servers/" + server["id"])
    processes.wait("template to go", lambda: not admin.list("nova", "/v2.1/servers?all_tenants=1&name=bulk-template"), 60)
    for network in admin.list("neutron", "/v2.0/networks?name=bulk"):
        for port in admin.list("neutron", "/v2.0/ports?network_id=" + network["id"]):
            admin("DELETE", "neutron", "/v2.0/ports/" + port["id"])
        admin("DELETE", "neutron", "/v2.0/networks/" + network["id"])
    say("what bulk added is gone")


def quoted(text):
    """An SQL expression in the quotes of JSON, so that 10.64.0.5 is not found in 10.64.0.50."""
    return f"concat(char(34),{text},char(34))"


def make_template(admin):
    image = admin("GET", "glance", "/v2/images")["images"][0]["id"]
    network = admin.create("neutron", "/v2.0/networks", "network", name="bulk")["id"]
    admin.create("neutron", "/v2.0/subnets", "subnet", network_id=network, ip_version=4, cidr="10.64.0.0/12", enable_dhcp=False)
    port = admin.create("neutron", "/v2.0/ports", "port", network_id=network, name="bulk-template")["id"]
    server = admin.create("nova", "/v2.1/servers", "server", name="bulk-template", imageRef=image, flavorRef="1", networks=[{"port": port}])["id"]
    processes.wait("template", lambda: admin("GET", "nova", "/v2.1/servers/" + server)["server"]["status"] == "ACTIVE", 60)


def clone(table, numbers, where, **changed):
    """The statement that copies a row once for each number; `changed` are the columns that differ."""
    schema, name = table.split(".")
    copied = sql("select column_name from information_schema.columns where "
                 f"table_schema='{schema}' and table_name='{name}' and extra not like '%auto_increment%' order by 1")
    columns = [c for c in copied.split() if c not in changed]
    into = "`,`".join([*changed, *columns])
    values = ", ".join([*changed.values(), *[f"t.`{c}`" for c in columns]])
    return f"insert into {table} (`{into}`) select {values} from {table} t join {numbers} where {where}"
