"""What may be wrong with attachments: their types, by name and by their first bytes. PURE.

Of an attachment's content only the beginning is decoded, for it may be most of the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mesh_itk3.itk3.attachment import Attachment
from mesh_itk3.itk3.attachment_types import TEXTS, agree, is_foreign, kind_of_start, kind_of_type, media_type
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.facts import Facts, Found

Types = frozenset[str]
"""Kinds (`pdf`) and media types (`image/gif`)."""


def type_not_approved(reading: Reading, facts: Facts) -> Found:
    return _first(reading, facts.workflow.approved_attachments, _is_named_outside)


def type_unsupported(reading: Reading, facts: Facts) -> Found:
    return _first(reading, facts.supported_attachments, _is_named_outside)


def content_not_approved(reading: Reading, facts: Facts) -> Found:
    return _first(reading, facts.workflow.approved_attachments, _is_content_outside)


def content_unsupported(reading: Reading, facts: Facts) -> Found:
    return _first(reading, facts.supported_attachments, _is_content_outside)


def unreadable(reading: Reading, _: Facts) -> Found:
    """No content, or none that is base64 where it begins."""
    for attachment in _attachments(reading):
        if attachment.start is None:
            return attachment.where, "value"
    return None


def content_unknown(reading: Reading, _: Facts) -> Found:
    """A name of the standard, and content that nothing is known of."""
    for attachment in _attachments(reading):
        is_named = kind_of_type(attachment.content_type) is not None
        if is_named and attachment.start is not None and _found_in(attachment) is None:
            return f"{attachment.resource.where}.contentType", ""
    return None


def content_differs(reading: Reading, _: Facts) -> Found:
    """One type of the standard under the name of another, or under none."""
    for attachment in _attachments(reading):
        declared, found = kind_of_type(attachment.content_type), _found_in(attachment)
        is_comparable = found is not None and (declared is not None or not media_type(attachment.content_type))
        if is_comparable and not agree(declared, found):
            return f"{attachment.resource.where}.contentType", ""
    return None


def _attachments(reading: Reading) -> Iterable[Attachment]:
    document = reading.envelope.document if reading.envelope else None
    return document.binaries if document else ()


def _first(reading: Reading, types: Types | None, is_wrong: Callable[[Attachment, Types], bool]) -> Found:
    if types is None:
        return None
    for attachment in _attachments(reading):
        if is_wrong(attachment, types):
            return f"{attachment.resource.where}.contentType", ""
    return None


def _is_named_outside(attachment: Attachment, types: Types) -> bool:
    """Where the sender gives no type, the content alone tells."""
    named = media_type(attachment.content_type)
    return bool(named) and named not in types and kind_of_type(named) not in types


def _is_content_outside(attachment: Attachment, types: Types) -> bool:
    """Whether it is, as its bytes show, none of these types. A type that somebody added to the list has no marks here, and
    what shows nothing may be what its name says: a text with one odd byte must not cost the patient the letter.
    """
    declared, is_named = kind_of_type(attachment.content_type), bool(media_type(attachment.content_type))
    if attachment.start is None or (declared is None and is_named):
        return False
    found = _found_in(attachment)
    if found is None:
        return not is_named or is_foreign(attachment.start)
    if found not in types:
        return True
    # Anything legible is text: that alone does not make a letter of what should be a PDF.
    return declared is not None and found in TEXTS and declared not in TEXTS


def _found_in(attachment: Attachment) -> str | None:
    return None if attachment.start is None else kind_of_start(attachment.start)
