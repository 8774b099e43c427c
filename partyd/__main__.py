"""Run ``python -m partyd`` as ``partyd``."""

from __future__ import annotations

from partyd.cli.partyd import main

if __name__ == "__main__":
    main()
