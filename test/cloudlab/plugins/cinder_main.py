"""Cinder's services, with one defect of Debian 12 mended.

Cinder 21 cannot rebuild a context that Debian 12's oslo.messaging has sanitised for a notification: give it the default.
"""
import importlib
import sys

service = importlib.import_module("cinder.cmd." + sys.argv.pop(1))

from cinder.context import RequestContext  # noqa: E402  (the service applies Cinder's monkey patching)

original = RequestContext.from_dict.__func__
RequestContext.from_dict = classmethod(lambda cls, v: original(cls, {**v, "read_deleted": v.get("read_deleted") or "no"}))
sys.argv[0] = service.__name__.replace(".cmd.", "-")
sys.exit(service.main())
