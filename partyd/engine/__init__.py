"""Where partitions are computed: a pool of processes on this machine."""
