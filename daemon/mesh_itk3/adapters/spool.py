"""Messages on workflows that are not ours, laid down as the NHS MESH client would: `<id>.dat` and `<id>.ctl`.

The shape of the control file is that of files delivered by the DTS and MESH clients (root `DTSControl`, one
`StatusRecord`); it is published nowhere that we found.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from lxml import etree

from mesh_itk3.adapters.durable import DurableDirectories, fsync_directory, storage_failures, write_file
from mesh_itk3.ports import MeshHeaders, StorageFailed

SPOOL_MODE: Final = 0o640
"""The program that reads the spool runs as another user, of our group."""

CONTROL_FIELDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("Version", "version", "1.0"),
    ("AddressType", "addresstype", "ALL"),
    ("MessageType", "messagetype", "Data"),
    ("From_ESMTP", "fromsmtp", ""),
    ("From_DTS", "from", ""),
    ("To_ESMTP", "tosmtp", ""),
    ("To_DTS", "to", ""),
    ("Subject", "subject", ""),
    ("LocalId", "localid", ""),
    ("DTSId", "messageid", ""),
    ("PartnerId", "partnerid", ""),
    ("WorkflowId", "workflowid", ""),
    ("ProcessId", "processid", ""),
    ("Compress", "content-compress", "N"),
    ("Encrypted", "content-encrypted", "N"),
    ("DataChecksum", "content-checksum", ""),
    ("IsCompressed", "content-compressed", "N"),
)
"""Element, MESH header (without `mex-`), and what stands there without it; in the order of delivered files."""
STATUS_FIELDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("DateTime", "statustimestamp", ""),
    ("Event", "statusevent", "TRANSFER"),
    ("Status", "statussuccess", "SUCCESS"),
    ("StatusCode", "statuscode", "00"),
    ("Description", "statusdescription", ""),
)

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class DirectorySpool:
    """`ports.Spool` into one directory, which is made where it is missing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directories = DurableDirectories()

    def spool(self, headers: MeshHeaders, fill: Callable[[BinaryIO], None]) -> None:
        """Durable on return. The control file comes last: whoever waits for it finds a whole pair. A REPORT has only the
        control file, having no data. A message whose control file is there is not written again. Raises StorageFailed.
        """
        name = spool_name(headers.mesh_message_id)
        control = self._directory / f"{name}.ctl"
        self._directories.make(self._directory, self._directory, mode=0o750)
        if self._is_there(control):
            return
        if headers.message_type == "DATA":
            write_file(self._directory / f"{name}.dat", fill, mode=SPOOL_MODE)
        write_file(control, lambda file: _write(file, control_file(headers)), mode=SPOOL_MODE)

    def _is_there(self, control: Path) -> bool:
        """Whether this pair is there, and durable: the process that wrote it may have died before it came to that."""
        with storage_failures():
            if not control.exists():
                return False
            try:
                fsync_directory(self._directory)
            except StorageFailed:
                # A second fsync would say that all is well: the next try writes it anew.
                control.unlink(missing_ok=True)
                raise
        return True


def spool_name(mesh_message_id: str) -> str:
    """A file name from the MESH message id, never from the sender's Mex-FileName; a digest where the id is no safe name."""
    if _SAFE_NAME.fullmatch(mesh_message_id):
        return mesh_message_id
    return f"mesh-{hashlib.sha256(mesh_message_id.encode('utf-8', 'replace')).hexdigest()[:32]}"


def control_file(headers: MeshHeaders) -> bytes:
    """The DTSControl document, in ASCII; characters that XML cannot carry become `?`."""
    root = etree.Element("DTSControl")
    kind = {"messagetype": headers.message_type.capitalize(), "messageid": headers.mesh_message_id}
    _add(root, CONTROL_FIELDS, {**headers.all, **kind})
    _add(etree.SubElement(root, "StatusRecord"), STATUS_FIELDS, headers.all)
    written: bytes = etree.tostring(root, pretty_print=True)
    return written


def _add(parent: etree._Element, fields: tuple[tuple[str, str, str], ...], values: Mapping[str, str]) -> None:
    for element, header, otherwise in fields:
        etree.SubElement(parent, element).text = _NOT_XML.sub("?", values.get(header, otherwise))


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
