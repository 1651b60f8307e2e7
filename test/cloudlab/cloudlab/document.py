"""A YAML document read piece by piece, every mistake in it collected with its place instead of stopping at the first."""
import ipaddress
import re

NAME = re.compile(r"[a-z][a-z0-9-]*$")
WORD = {str: "text", int: "number", bool: "yes or no", list: "list", dict: "mapping"}


class Node:
    """A mapping of the file with its place in it. What is not asked for by `close` is an unknown key."""

    def __init__(self, value, place, mistakes):
        self.place, self.mistakes, self.asked = place, mistakes, set()
        self.value = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self.wrong("", "must be a mapping")

    def wrong(self, key, text):
        self.mistakes.append(f"{'.'.join(filter(None, [self.place, str(key)])) or 'the file'}: {text}")

    def get(self, key, kind, default=None, required=False):
        self.asked.add(key)
        value = self.value.get(key)
        if value is None:
            if required:
                self.wrong(key, "is missing")
            return default
        if not isinstance(value, kind) or isinstance(value, bool) and kind is int:
            self.wrong(key, f"must be a {WORD[kind]}")
            return default
        return value

    def text(self, key, default="", **more):
        return self.get(key, str, default, **more)

    def each(self, key, read, required=False):
        """A mapping of names to mappings, read one by one."""
        out = {}
        for name, value in self.get(key, dict, {}, required).items():
            child = Node({} if value is None else value, f"{self.place}.{key}.{name}".lstrip("."), self.mistakes)
            if not NAME.match(str(name)):
                child.wrong("", "a name is lower-case letters, digits and hyphens")
            out[name] = read(str(name), child)
            child.close()
        return out

    def items(self, key, read, required=False):
        """A list of mappings."""
        out = []
        for number, value in enumerate(self.get(key, list, [], required)):
            child = Node(value, f"{self.place}.{key}[{number}]".lstrip("."), self.mistakes)
            out.append(read(child))
            child.close()
        return out

    def parsed(self, key, parse, values):
        """Values through a parser of the ipaddress module; what it refuses is a mistake."""
        out = []
        for value in values:
            try:
                out.append(parse(value))
            except ValueError as err:
                self.wrong(key, err)
        return out

    def lists(self, key, parse):
        """A mapping of names to lists of values."""
        out = {}
        for name, values in self.get(key, dict, {}).items():
            if not isinstance(values or [], list):
                self.wrong(f"{key}.{name}", "must be a list")
                values = []
            out[name] = self.parsed(f"{key}.{name}", parse, values or [])
        return out

    def addresses(self, key, required=False, parse=ipaddress.ip_address):
        return self.parsed(key, parse, self.get(key, list, [], required))

    def address(self, key, required=False, parse=ipaddress.ip_address):
        value = self.text(key, None, required=required)
        return next(iter(self.parsed(key, parse, [value] if value else [])), None)

    def close(self):
        for key in self.value:
            if key not in self.asked:
                known = ", ".join(sorted(self.asked))
                self.wrong(key, f"unknown key; there are {known}")
