"""The daemon's HTTP interface: FATE Flow's ``/v2``, health and metrics."""
