"""Read an uploaded file in a process of its own: ``python -m partyd.data.ingest FILE FOLDER FORMAT``.

Prints the table's description as JSON; says on standard error, in one line, why a file cannot be read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from partyd.data.csv_source import read_csv
from partyd.data.formats import CsvFormat
from partyd.errors import DataError


def main(file: str, folder: str, form: str) -> int:
    """Read ``file`` and keep it in ``folder``."""
    try:
        table, skipped = read_csv(Path(file), CsvFormat.model_validate_json(form))
        table.save(Path(folder))
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (OSError, MemoryError) as error:
        sys.stderr.write(f"the table cannot be kept: {getattr(error, 'strerror', None) or 'memory does not suffice'}\n")
        return 1
    document = {
        "count": len(table),
        "schema": table.schema.model_dump(mode="json"),
        "digest": table.digest().hex(),
        "skipped": skipped,
    }
    sys.stdout.write(json.dumps(document))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
