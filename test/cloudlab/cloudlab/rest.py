"""A small client of OpenStack's APIs: one token, JSON in and out."""
import json
import urllib.error
import urllib.request

from .settings import PASSWORD, Failure, url

SERVERS = "/v2.1/servers/detail?all_tenants=1"
VERSION = {"nova": "compute 2.90", "cinder": "volume 3.66"}


class Refused(Failure):
    """An API answered with an error; `code` is HTTP's."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class API:
    """Logged in by a name and a password, or by an application credential."""

    def __init__(self, user=None, project=None, system=False, credential=None):
        domain = {"name": "Default"}
        if credential:
            auth = {"identity": {"methods": ["application_credential"], "application_credential": credential}}
        else:
            account = {"name": user, "domain": domain, "password": PASSWORD}
            scope = {"system": {"all": True}} if system else {"project": {"name": project, "domain": domain}}
            auth = {"identity": {"methods": ["password"], "password": {"user": account}}, "scope": scope}
        headers, answer = exchange("POST", url("keystone", "/v3/auth/tokens"), {"Content-Type": "application/json"}, json.dumps({"auth": auth}).encode(), 60)
        self.token, self.project, self.user = headers["X-Subject-Token"], answer["token"].get("project", {}).get("id"), answer["token"]["user"]["id"]

    def __call__(self, method, service, route, body=None, ok=(), headers=None, raw=None):
        """Ask; the codes in `ok` count as an empty answer."""
        sent = {"X-Auth-Token": self.token, "Content-Type": "application/json"}
        if service in VERSION:
            sent["OpenStack-API-Version"] = VERSION[service]
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        try:
            return exchange(method, url(service, route), sent | (headers or {}), data, 120)[1]
        except Refused as err:
            if err.code in ok:
                return {}
            raise

    def list(self, service, route):
        """The rows of a listing, whatever its key."""
        return next(rows for rows in self("GET", service, route).values() if isinstance(rows, list))

    def create(self, service, route, kind, /, **body):
        """Make one of a kind, and return what the service says of it."""
        return self("POST", service, route, {kind: body})[kind]


def exchange(method, where, headers, data, timeout):
    request = urllib.request.Request(where, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            text = answer.read()
            return answer.headers, json.loads(text) if text else {}
    except urllib.error.HTTPError as err:
        raise Refused(err.code, f"{method} {where}: {err.code} {err.read().decode(errors='replace')[:500]}") from None
