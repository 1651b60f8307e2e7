"""A real OpenStack (Debian 12, Zed) with a real packet path, on one machine."""
