"""Upload every table that the other scripts read."""

from setting import folder, tell, upload

upload(
    folder(),
    "breast_hetero_guest",
    "breast_hetero_host",
    "guest_part_1",
    "guest_part_2",
    "host_part_1",
    "host_part_2",
)
tell(uploaded=6)
