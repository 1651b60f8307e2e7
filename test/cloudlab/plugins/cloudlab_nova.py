"""Nova driver: a server whose metadata has lab_services is a network namespace; others are fake.

Each such server has a description in the run directory's hosts/<uuid>.json, which the testbed's verbs `_host_up` and
`_host_down` turn into a namespace with NICs and daemons, and back.
"""
import json
import os
import subprocess

from nova.virt import fake

TESTBED = os.environ["CLOUDLAB_TESTBED"]
HOSTS = os.path.join(os.environ["CLOUDLAB_DIR"], "hosts")


def description(instance):
    return os.path.join(HOSTS, instance.uuid + ".json")


def nic(vif):
    addresses = [dict(ip=i["address"], cidr=s["cidr"], gateway=(s.get("gateway") or {}).get("address"))
                 for s in vif["network"]["subnets"] for i in s["ips"]]
    return dict(port=vif["id"], mac=vif["address"], mtu=vif["network"].get_meta("mtu") or 1442, addresses=addresses)


def save(instance, nics):
    with open(description(instance), "w") as f:
        # The namespace is called by the scenario's key: a server's name may be anything.
        json.dump(dict(uuid=instance.uuid, name=instance.metadata.get("lab_name", instance.display_name), project=instance.project_id, nics=nics,
                       services=instance.metadata.get("lab_services", ""), firewall=instance.metadata.get("lab_firewall", "")), f)


def change(instance, verb):
    if os.path.exists(description(instance)):
        subprocess.run(["/usr/bin/python3", TESTBED, verb, instance.uuid], check=True)


class NetnsDriver(fake.FakeDriver):
    def spawn(self, context, instance, image_meta, injected_files, admin_password, allocations,
              network_info=None, block_device_info=None, power_on=True, accel_info=None):
        super().spawn(context, instance, image_meta, injected_files, admin_password, allocations,
                      network_info, block_device_info, power_on, accel_info)
        if "lab_services" in instance.metadata:
            save(instance, [nic(v) for v in network_info or []])
            if power_on:
                change(instance, "_host_up")

    def destroy(self, context, instance, *args, **kwargs):
        super().destroy(context, instance, *args, **kwargs)
        change(instance, "_host_down")
        if os.path.exists(description(instance)):
            os.unlink(description(instance))

    def power_off(self, instance, *args, **kwargs):
        super().power_off(instance, *args, **kwargs)
        change(instance, "_host_down")

    def power_on(self, context, instance, *args, **kwargs):
        super().power_on(context, instance, *args, **kwargs)
        change(instance, "_host_up")

    def pause(self, instance):
        change(instance, "_host_down")

    def unpause(self, instance):
        change(instance, "_host_up")

    def suspend(self, context, instance):
        change(instance, "_host_down")

    def resume(self, context, instance, *args, **kwargs):
        change(instance, "_host_up")

    def attach_interface(self, context, instance, image_meta, vif):
        super().attach_interface(context, instance, image_meta, vif)
        self._replug(instance, lambda nics: nics + [nic(vif)])

    def detach_interface(self, context, instance, vif):
        super().detach_interface(context, instance, vif)
        self._replug(instance, lambda nics: [n for n in nics if n["port"] != vif["id"]])

    def _replug(self, instance, changed):
        if os.path.exists(description(instance)):
            with open(description(instance)) as f:
                nics = json.load(f)["nics"]
            change(instance, "_host_down")
            save(instance, changed(nics))
            change(instance, "_host_up")
