"""Say our settings and rules in mosquitto's words (mosquitto.conf(5)), for 2.0.11 and later.

The numbers matter: with ``max_queued_messages 0`` mosquitto before 2.0.22 throws a client off at each refused
publication; without ``set_tcp_nodelay`` a small QoS 1 exchange takes 88 ms instead of one; the default queue of 1000
messages drops silently. ``use_username_as_clientid`` is left out because one party may run several daemons: their
client ids are random.
"""

from __future__ import annotations

from pathlib import Path

from broker.settings import Identity, Settings

ACL = """\
# %u is the party id: the certificate's common name, or the user name.
pattern write partyd/1/+/%u/#
pattern read partyd/1/%u/#
"""

_LIMITS = {
    "max_packet_size": "max_packet_bytes",
    "max_connections": "max_connections",
    "max_queued_messages": "max_queued_messages",
    "max_queued_bytes": "max_queued_bytes",
    "max_inflight_messages": "max_inflight_messages",
    "max_keepalive": "max_keepalive_s",
}


def render(settings: Settings, directory: Path, *, user: str | None = None) -> str:
    """Write mosquitto.conf for the files in the directory; ``user`` is whom a root process becomes."""
    files = {name: directory.absolute() / path for name, path in settings.files}
    lines = [
        "# Written by partyd-broker from broker.toml: change that file and run init again.",
        "per_listener_settings false",
        f"listener {settings.listen.port} {settings.listen.host}",
        *_identity(settings, files),
        "allow_anonymous false",
        f"acl_file {files['acl']}",
        "set_tcp_nodelay true",
        *(f"{option} {getattr(settings.limits, field)}" for option, field in _LIMITS.items()),
        "persistence false",
        "retain_available false",
        "sys_interval 0",
        "log_dest stderr",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information")),
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        *([f"user {user}"] if user else []),
    ]
    return "\n".join(lines) + "\n"


def _identity(settings: Settings, files: dict[str, Path]) -> list[str]:
    lines = []
    if settings.listen.tls:
        lines += [f"certfile {files['certificate']}", f"keyfile {files['key']}", "tls_version tlsv1.3"]
    if settings.identity is Identity.PASSWORDS:
        return [*lines, f"password_file {files['passwords']}"]
    lines += [f"cafile {files['ca']}", "require_certificate true", "use_identity_as_username true"]
    return [*lines, f"crlfile {files['revoked']}"] if files["revoked"].exists() else lines
