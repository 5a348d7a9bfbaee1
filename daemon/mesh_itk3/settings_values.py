"""The kinds of values that configuration holds. PURE: nothing here looks at the disk.

Every refusal is a sentence without the value: it may be a password in the wrong place.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from mesh_itk3.itk3.attachment_types import KINDS, MEDIA_TYPES


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or not str(path).isprintable():
        raise ValueError("must be an absolute path")
    return path


def _not_bool(value: object) -> object:
    # TOML knows true from 1; pydantic would take the one for the other.
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 (pydantic takes only ValueError)
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _trimmed_upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _ods_code(code: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{3,12}", code):
        raise ValueError("must be an ODS code such as A81001")
    return code


def _mailbox_id(mailbox_id: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{3,32}", mailbox_id):
        raise ValueError("must be a mailbox id such as X26ABC2")
    return mailbox_id


def _identifier(identifier: str) -> str:
    if not re.fullmatch(r"[A-Z0-9-]{3,20}", identifier):
        raise ValueError("must hold ODS codes or national identifiers such as 555253716105")
    return identifier


def _workflow_id(workflow_id: str) -> str:
    # MESH takes up to 300 characters; ones that no line can show are mistakes.
    if not re.fullmatch(r"[!-~]{1,300}", workflow_id):
        raise ValueError("must be a workflow id such as TOC_FHIR_IP_DISCH_ACK, or NONE")
    return workflow_id


def _attachment_type(name: str) -> str:
    if name not in KINDS and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,99}/[a-z0-9][a-z0-9.+-]{0,99}", name):
        raise ValueError(f"must hold {', '.join(MEDIA_TYPES)}, or media types such as image/gif")
    return name


def _listed(value: object) -> object:
    """The environment has no lists: `A81001, A81002` or a JSON list stand for one."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [part for part in (part.strip() for part in value.split(",")) if part]
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("must be a list") from None


def _web_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and is_plain and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable():
        raise ValueError("must be an address such as http://127.0.0.1:8700")
    return url.rstrip("/")


def _ledger_url(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if text.startswith("sqlite:"):
        if not text.startswith("sqlite:////") or "?" in text or not text.isprintable() or text.endswith("/"):
            raise ValueError("must name a file by its absolute path: sqlite:////var/lib/mesh-itk3/ledger.db")
        return url
    if text.partition("://")[0] not in {"postgresql", "postgresql+psycopg"}:
        raise ValueError("must begin with sqlite:// or postgresql://")
    return url


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
WholeNumber = Annotated[int, BeforeValidator(_not_bool)]
Secret = Annotated[SecretStr, Field(min_length=1)]
OdsCode = Annotated[str, BeforeValidator(_trimmed_upper), AfterValidator(_ods_code)]
MailboxId = Annotated[str, AfterValidator(_mailbox_id)]
OdsCodes = Annotated[tuple[OdsCode, ...], BeforeValidator(_listed)]
MailboxIds = Annotated[
    tuple[Annotated[str, BeforeValidator(_trimmed_upper), AfterValidator(_mailbox_id)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
]
Identifiers = Annotated[
    tuple[Annotated[str, BeforeValidator(_trimmed_upper), AfterValidator(_identifier)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
]
WorkflowId = Annotated[str, AfterValidator(_workflow_id)]
AttachmentTypes = Annotated[
    tuple[Annotated[str, BeforeValidator(_lower), AfterValidator(_attachment_type)], ...], BeforeValidator(_listed)
]
Flags = Annotated[tuple[Literal["InfAckRequested", "BusAckRequested"], ...], BeforeValidator(_listed)]
Texts = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], BeforeValidator(_listed)]
Hours = Annotated[tuple[Annotated[WholeNumber, Field(ge=1, le=8_760)], ...], BeforeValidator(_listed)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
LedgerUrl = Annotated[Secret, AfterValidator(_ledger_url)]
ANY_CASE = BeforeValidator(_lower)
