"""Files that are whole or absent: everything the package writes goes through here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path to write to; the file takes its real name only when the block has ended well.

    The temporary file lies in the same folder, so that the final rename stays within one file system. Its name
    starts with a dot and ends in ``.tmp``: no reader that looks for a stem or an extension takes it for a result.
    Whatever happens inside the block, ``path`` holds either its old content or all of the new.

    Args:
        path: where the file is to be. Its folder must exist. An existing file is replaced.

    Raises:
        FileNotFoundError: the folder does not exist, or the block wrote nothing to the temporary path.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: the folder {target.parent} does not exist; create it first")
    _remove_leftovers(target)
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if not temporary.is_file():
            raise FileNotFoundError(f"nothing was written for {target}: write to the path that atomic_path yields")
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    except BaseException:
        # Also on Ctrl-C: no litter is left beside the results.
        temporary.unlink(missing_ok=True)
        raise
    # The rename itself survives a power cut only when the folder is flushed too. Some network file systems refuse
    # to do that; the file is complete all the same.
    with contextlib.suppress(OSError):
        _flush_to_disk(target.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically. Raises FileNotFoundError as :func:`atomic_path` does."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def checksum(content: Any) -> int:
    """CRC-32 of what a JSON file holds, whatever its spacing and the order of its keys."""
    return zlib.crc32(json.dumps(json.loads(json.dumps(content)), sort_keys=True).encode())


def _remove_leftovers(target: Path) -> None:
    """Removes what killed processes of this machine left of the same file."""
    name = re.compile(rf"\.{re.escape(target.name[:200])}\.(\d+)\.[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError):
        for path in target.parent.iterdir():
            match = name.fullmatch(path.name)
            if match and not _lives(int(match[1])):
                path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # it is somebody else's
    return True


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
