"""Write ``broker.toml`` with a word on every key; `conf/broker.toml` is this text with the defaults."""

from __future__ import annotations

from broker.settings import Settings

_TEXT = """\
# Settings of partyd-broker. Every key is here with its value; a key that is left out has its default.
# Names of files are relative to the directory of this file. After a change: partyd-broker init --dir DIR (it writes
# mosquitto.conf anew), then restart the broker.

# How a client proves its party id: "certificates" (mutual TLS, the common name is the party id) or "passwords".
identity = "{identity}"

# Lines the broker writes: "debug", "info", "warning" or "error".
log_level = "{log_level}"

# The program that `partyd-broker run` starts; where it is not found, the embedded broker serves.
mosquitto = "{mosquitto}"

[listen]
# An address of this machine: 127.0.0.1 for itself only, 0.0.0.0 for all.
host = "{listen.host}"
port = {listen.port}
# false only with passwords on a loopback address.
tls = {tls}

[files]
# The authority that signs the parties' certificates; its key lies beside it as ca.key, and may be kept elsewhere.
ca = "{files.ca}"
certificate = "{files.certificate}"
key = "{files.key}"
# Revoked certificates; used when the file exists. Written by: partyd-broker revoke
revoked = "{files.revoked}"
# Users and hashes in mosquitto's format; used with identity = "passwords".
passwords = "{files.passwords}"
# mosquitto's form of the rule; written by init.
acl = "{files.acl}"

[limits]
# The largest packet; partyd's chunks are at most 512 KiB and its frames a little more.
max_packet_bytes = {limits.max_packet_bytes}
max_connections = {limits.max_connections}
# What may wait for one client that reads slowly; more is dropped, and the daemons send it again. Keep the bytes above
# the number of its peers times 16 MiB (the daemons' window), so that the limit is never met.
max_queued_messages = {limits.max_queued_messages}
max_queued_bytes = {limits.max_queued_bytes}
# QoS 1 messages on their way to one client at once (mosquitto only).
max_inflight_messages = {limits.max_inflight_messages}
# A client must promise a sign of life at least this often; one that is silent for 1.5 times its promise is dropped.
max_keepalive_s = {limits.max_keepalive_s}
"""


def render(settings: Settings) -> str:
    """Return the commented file for these settings."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    return _TEXT.format(**values, tls=str(settings.listen.tls).lower())
