"""What is done to a message's bytes to break it, or to write it in another way. Pure.

Every edit raises ValueError where it finds nothing to change: a case must never send an unharmed message by mistake.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from typing import Final

Edit = Callable[[bytes], bytes]

_HEADER_ENTRY: Final = re.compile(
    rb'<entry><fullUrl value="[^"]*"/><resource><MessageHeader>.*?</MessageHeader></resource></entry>', re.DOTALL
)
_HANDLING: Final = b"https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2"


def swap(old: str, new: str, *, count: int = 1) -> Edit:
    """The first `count` places; -1: all."""

    def edit(body: bytes) -> bytes:
        return _changed(body, body.replace(old.encode(), new.encode(), count))

    return edit


def drop(pattern: str) -> Edit:
    """The first place that this regular expression finds."""
    return rewrite(pattern, "")


def rewrite(pattern: str, new: str) -> Edit:
    """The first place that this regular expression finds, written anew, with its groups."""
    compiled = re.compile(pattern.encode(), re.DOTALL)

    def edit(body: bytes) -> bytes:
        return _changed(body, compiled.sub(new.encode(), body, count=1))

    return edit


def _changed(before: bytes, after: bytes) -> bytes:
    if before == after:
        raise ValueError("this edit found nothing to change")
    return after


def key(name: str, content: str) -> Edit:
    """One key of the handling extension with this content in place of its own."""
    return rewrite(f'(<extension url="{name}">).*?(</extension>)', f"\\1{content}\\2")


def without_key(name: str) -> Edit:
    return drop(f'<extension url="{name}">.*?</extension>')


def key_twice(name: str, content: str) -> Edit:
    """The key once more, with other content."""
    return rewrite(f'(<extension url="{name}">.*?</extension>)', f'\\1<extension url="{name}">{content}</extension>')


def handling_twice(body: bytes) -> bytes:
    """The whole handling extension a second time."""
    found = re.search(rb'<extension url="' + re.escape(_HANDLING) + rb'">.*?</extension></extension>', body, re.DOTALL)
    if found is None:
        raise ValueError("there is no handling extension to repeat")
    return body[: found.end()] + found[0] + body[found.end() :]


def header_last(body: bytes) -> bytes:
    """The MessageHeader's entry as the last one of the outer bundle."""
    found = _HEADER_ENTRY.search(body)
    if found is None or not body.endswith(b"</Bundle>"):
        raise ValueError("there is no MessageHeader to move")
    return body[: found.start()] + body[found.end() : -len(b"</Bundle>")] + found[0] + b"</Bundle>"


def header_twice(body: bytes) -> bytes:
    """A second MessageHeader, the same as the first."""
    found = _HEADER_ENTRY.search(body)
    if found is None:
        raise ValueError("there is no MessageHeader to repeat")
    return body[: found.end()] + found[0] + body[found.end() :]


def document_twice(body: bytes) -> bytes:
    """A second document bundle under ids of its own."""
    start = body.rindex(b"<entry><fullUrl", 0, body.index(b"<resource><Bundle>"))
    document = body[start : -len(b"</Bundle>")]
    other = re.sub(rb'"urn:uuid:[0-9a-f]{8}', rb'"urn:uuid:0ddba11c', document)
    other = re.sub(rb'<id value="[0-9a-f]{8}', rb'<id value="0ddba11c', other)
    return body[: -len(b"</Bundle>")] + other + b"</Bundle>"


def without_document(body: bytes) -> bytes:
    """The outer bundle with its header and organisations only."""
    start = body.rindex(b"<entry><fullUrl", 0, body.index(b"<resource><Bundle>"))
    return body[:start] + b"</Bundle>"


def without_resource(kind: str) -> Edit:
    """Without the first entry of this resource type."""
    return drop(rf"<entry><fullUrl value=\"[^\"]*\"/><resource><{kind}>(?:(?!<entry>).)*?</{kind}></resource></entry>")


def renamed(kind: str, other: str) -> Edit:
    """The first resource of this type as one of another."""

    def edit(body: bytes) -> bytes:
        opened = body.replace(f"<{kind}>".encode(), f"<{other}>".encode(), 1)
        return _changed(body, opened.replace(f"</{kind}>".encode(), f"</{other}>".encode(), 1))

    return edit


def inside_document(edit: Edit) -> Edit:
    """The edit, on what stands inside the document bundle only."""

    def inner(body: bytes) -> bytes:
        start = body.index(b"<resource><Bundle>")
        return body[:start] + edit(body[start:])

    return inner


def receiver_person(sds_user_id: str) -> Edit:
    """The header's receiver as a person with this SDS user id, in place of the practice."""
    person = f'<identifier><system value="https://fhir.nhs.uk/Id/sds-user-id"/><value value="{sds_user_id}"/></identifier>'
    profile = "https://fhir.nhs.uk/STU3/StructureDefinition/CareConnect-ITK-Header-Practitioner-1"
    return rewrite(
        '<Organization>(<id value="[^"]*"/>)<meta>(?:(?!<Organization>).)*?<value value="A81001"/></identifier></Organization>',
        f'<Practitioner>\\1<meta><profile value="{profile}"/></meta>{person}</Practitioner>',
    )


def attachment(content_type: str, base64: str) -> Edit:
    """The document's attachment with another type and content."""
    return rewrite(
        '<contentType value="[^"]*"/><content value="[^"]*"/>',
        f'<contentType value="{content_type}"/><content value="{base64}"/>',
    )


# ------------------------------------------------------------------------------------------------ other ways to write the same


def prefixed(body: bytes) -> bytes:
    """Every FHIR element with a namespace prefix, which XML allows; the narrative keeps its own default namespace."""
    depth_of_div = 0
    parts = []
    for piece in re.split(rb"(<[^>]+>)", body):
        part = piece
        name = part[2:] if part.startswith(b"</") else part[1:]
        if part.startswith(b"<div "):
            depth_of_div += 1
        is_tag = part.startswith(b"<") and not part.startswith((b"<?", b"<!"))
        if is_tag and not depth_of_div:
            part = (b"</f:" if part.startswith(b"</") else b"<f:") + name
        if part == b"</div>":
            depth_of_div -= 1
        parts.append(part)
    return _changed(body, b"".join(parts).replace(b'xmlns="http://hl7.org/fhir"', b'xmlns:f="http://hl7.org/fhir"', 1))


def commented(body: bytes) -> bytes:
    """Comments and a processing instruction inside elements, as official samples have them."""
    text = b"<!-- a comment between elements --><?note of no meaning?>"
    return _changed(body, body.replace(b"<MessageHeader>", b"<MessageHeader>" + text, 1))


def indented(body: bytes) -> bytes:
    """Line ends between the elements of the outer bundle and its header."""
    return _changed(body, body.replace(b"/><", b"/>\r\n\t<"))


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


# ------------------------------------------------------------------------------------------------ hostile


DOCTYPE: Final = swap("?>\n", '?>\n<!DOCTYPE Bundle [<!ENTITY who "nobody">]>\n')
EXTERNAL_ENTITY: Final = swap("?>\n", '?>\n<!DOCTYPE Bundle [<!ENTITY leak SYSTEM "file:///etc/hostname">]>\n')
BILLION_LAUGHS: Final = swap(
    "?>\n",
    '?>\n<!DOCTYPE Bundle [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {name} "{("&" + of + ";") * 10}">' for of, name in zip("abcdefghi", "bcdefghij", strict=True))
    + "]>\n",
)


def byte_order_mark(body: bytes) -> bytes:
    return b"\xef\xbb\xbf" + body


def utf_16(body: bytes) -> bytes:
    """UTF-16 with its mark, and declared as such."""
    return body.decode().replace("UTF-8", "UTF-16", 1).encode("utf-16")


def latin_1(body: bytes) -> bytes:
    """Declared ISO-8859-1, with a letter that is not ASCII."""
    text = body.decode().replace("UTF-8", "ISO-8859-1", 1).replace("General", "G\u00e9n\u00e9ral", 1)
    return text.encode("iso-8859-1")


def latin_1_undeclared(body: bytes) -> bytes:
    """Says UTF-8 and holds bytes that are none."""
    return _changed(body, body.replace(b"General", b"G\xe9n\xe9ral", 1))


def nul_byte(body: bytes) -> bytes:
    """A NUL in the narrative, which no XML may hold."""
    return _changed(body, body.replace(b"</td>", b"\x00</td>", 1))


def deep(levels: int) -> Edit:
    """So many elements inside one another, in the first narrative."""

    def edit(body: bytes) -> bytes:
        return _changed(body, body.replace(b"</td>", b"<b>" * levels + b"deep" + b"</b>" * levels + b"</td>", 1))

    return edit


def in_words(body: bytes) -> bytes:
    """The beginning of the message as a person would have pasted it into an email."""
    return b"Dear practice, please find the letter below.\n" + body


def cut_in_header(body: bytes) -> bytes:
    """The message ends inside its MessageHeader, before the flags are complete."""
    return body[: body.index(b'<extension url="InfAckRequested">')]


def cut_in_document(body: bytes) -> bytes:
    """The message ends in the middle of the letter."""
    return body[: body.index(b"<Composition>") + 200]
