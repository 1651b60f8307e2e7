"""Cinder driver that keeps volumes, snapshots and clones on paper only."""
from cinder.volume import driver


class PaperVolumeDriver(driver.VolumeDriver):
    VERSION = "1"

    def nothing(self, *args, **kwargs):
        """There is no storage."""

    check_for_setup_error = nothing
    create_volume = delete_volume = extend_volume = nothing
    create_snapshot = delete_snapshot = create_volume_from_snapshot = create_cloned_volume = nothing
    ensure_export = create_export = remove_export = terminate_connection = nothing

    def initialize_connection(self, volume, connector, **kwargs):
        return {"driver_volume_type": "fake", "data": {"volume_id": volume.id, "encrypted": False}}

    def get_volume_stats(self, refresh=False):
        return dict(volume_backend_name="lab", vendor_name="lab", driver_version="1", storage_protocol="fake",
                    total_capacity_gb=100000, free_capacity_gb=90000, reserved_percentage=0, multiattach=True,
                    thin_provisioning_support=True, max_over_subscription_ratio="20", provisioned_capacity_gb=0)
