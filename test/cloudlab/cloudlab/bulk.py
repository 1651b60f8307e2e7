"""Thousands of servers as rows alone: a template's, cloned in Nova's and Neutron's tables; the APIs see them, OVN does not."""
import time

from . import processes
from .backing import sql
from .rest import API
from .settings import say

SERVER = "concat(lpad(hex(seq),8,'0'),'-b01d-4000-8000-000000000000')"
PORT = "concat(lpad(hex(seq),8,'0'),'-b01d-4000-9000-000000000000')"
MAC = "concat('fa:17:',insert(insert(insert(lower(lpad(hex(seq),8,'0')),3,0,':'),6,0,':'),9,0,':'))"
NAME = "concat('bulk-',seq)"


def add(count):
    """Add so many servers with a port each."""
    count = int(count)
    have = int(sql("select count(*) from nova.instances where display_name like 'bulk-%'").strip())
    if not have:
        make_template(API("admin", "admin"))
        have = 1
    server = sql("select uuid from nova.instances where display_name='bulk-template'").strip()
    port = sql(f"select id from neutron.ports where device_id='{server}'").strip()
    attributes = sql(f"select standard_attr_id from neutron.ports where id='{port}'").strip()
    numbers = f"seq_{have}_to_{have + count - 1}"
    clones = [
        clone("nova.instances", numbers, f"t.uuid='{server}'", uuid=SERVER, display_name=NAME, hostname=NAME),
        clone("nova.instance_extra", numbers, f"t.instance_uuid='{server}'", instance_uuid=SERVER),
        clone("nova.instance_info_caches", numbers, f"t.instance_uuid='{server}'", instance_uuid=SERVER),
        clone("nova_api.instance_mappings", numbers, f"t.instance_uuid='{server}'", instance_uuid=SERVER),
        clone("neutron.standardattributes", numbers, f"t.id={attributes}", id="10000000+seq"),
        clone("neutron.ports", numbers, f"t.id='{port}'", id=PORT, name=NAME, standard_attr_id="10000000+seq",
              device_id=SERVER, mac_address=MAC),
        clone("neutron.ipallocations", numbers, f"t.port_id='{port}'", port_id=PORT, ip_address="inet_ntoa(inet_aton('10.65.0.0')+seq)")]
    clones += [clone("neutron." + table, numbers, f"t.port_id='{port}'", port_id=PORT)
               for table in ("portsecuritybindings", "securitygroupportbindings", "ml2_port_bindings")]
    began = time.monotonic()
    sql("use neutron; start transaction; " + "; ".join(clones) + "; commit")
    say(f"{count} servers and ports added in {time.monotonic() - began:.1f} s ({have + count} in all)")


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
