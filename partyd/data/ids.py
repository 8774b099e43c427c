"""What an id is: the text of one column, or of several together, the same bytes at every party.

Parties compare ids byte by byte, so both must make the same bytes of the same id, whatever file it stood in:

1. The text is decoded from the file's encoding; ASCII white space around it is no part of it (unless ``strip_ids`` is
   off). It is brought into Unicode's normal form C and written as UTF-8. Nothing else is changed: ``007`` is not ``7``,
   case counts, full-width digits are not digits. A number of a typed source (Parquet, a database) is its decimal text,
   a whole one without a point.
2. An id of several columns is, for each in the order in which they are listed, its length in bytes in decimal, a colon,
   and the text: ``8:19800101`` and ``3:Ann`` make ``8:198001013:Ann``. Lengths say where each part ends, so no two
   different lists of texts give the same id. An id of one column has no length before it.

Bytes of a typed source that are no UTF-8 stay as they are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from partyd.data.formats import MAX_ID_BYTES


def read_id(text: bytes, strip: bool) -> bytes:
    """Return an id, or a part of one, as it is kept; raises ValueError with a sentence."""
    word = normal(text.strip() if strip else text)
    if not word or b"\0" in word or len(word) > MAX_ID_BYTES:
        raise ValueError(f"an id is empty, longer than {MAX_ID_BYTES} bytes or holds a NUL")
    return word


def normal(word: bytes) -> bytes:
    """Return UTF-8 text in normal form C, other bytes as they are."""
    if word.isascii():
        return word
    try:
        return unicodedata.normalize("NFC", word.decode()).encode()
    except UnicodeDecodeError:
        return word


def composite(parts: Sequence[bytes]) -> bytes:
    """Return the id that the texts of several columns make together; raises ValueError when it is too long.

    One text is the id itself; none make none.
    """
    if len(parts) == 1:
        return parts[0]
    whole = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    if len(whole) > MAX_ID_BYTES:
        raise ValueError(f"an id of {len(parts)} columns is longer than {MAX_ID_BYTES} bytes")
    return whole
