"""nova-compute with our driver, which Nova looks for under nova.virt."""
import nova.cmd.compute as compute  # first: it applies Nova's monkey patching
import sys

import cloudlab_nova

sys.modules["nova.virt.cloudlab"] = cloudlab_nova
sys.exit(compute.main())
