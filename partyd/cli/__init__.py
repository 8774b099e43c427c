"""The commands people type: ``partyd`` for a daemon's owner, ``flow`` for whoever submits jobs."""
