"""Messages that cannot be read, and other ways of writing one that can. Pure."""

from __future__ import annotations

from typing import Final

from mesh_itk3.simulator.conformance import edits
from mesh_itk3.simulator.conformance.case import BOTH, Case, Letter, Message, Raw, accepted, letter, message, refused
from mesh_itk3.simulator.conformance.edits import swap
from mesh_itk3.simulator.messages import not_well_formed

_SHOULD: Final = "RC-HS-02"
_UNREADABLE: Final = ("RC-HS-02", "ITK3-UNNUMBERED-05", "ITK3-UNNUMBERED-08")
_XML: Final = ("ITK3-UNNUMBERED-03",)
_IN_THE_TEXT: Final = "</td>"


def _named(name: str, shows: str, content: Letter | Message) -> Case:
    """10009, and the id that could still be read stands in the response."""
    return Case(name, f"{shows}: 10009, naming the message, whose id can still be read.", "standard",
                (refused(content, "10009"),), (_SHOULD,))  # fmt: skip


def _nameless(name: str, shows: str, content: Letter | Raw | Message) -> Case:
    """10009 with the fixed string."""
    sent = message(content) if isinstance(content, Raw) else content
    return Case(name, f"{shows}: 10009, naming it by the fixed string.", "standard",
                (refused(sent, "10009", names_message=False),), _UNREADABLE)  # fmt: skip


UNREADABLE: Final = (
    _named("not-well-formed", "A table cell left open", letter("ITK003D", not_well_formed)),
    _named("cut-in-document", "The message ends in the middle of the letter", letter("ITK003D", edits.cut_in_document)),
    _named("cut-in-header", "It ends inside the handling extension, before InfAckRequested", letter("ITK003D", edits.cut_in_header)),
    _named("doctype", "A DOCTYPE", letter("ITK003D", edits.DOCTYPE)),
    _named("external-entity", "A DOCTYPE that names a file of this machine",
           letter("ITK003D", edits.EXTERNAL_ENTITY, swap(_IN_THE_TEXT, "&leak;</td>"))),
    _named("entity-bomb", "A DOCTYPE with entities inside entities",
           letter("ITK003D", edits.BILLION_LAUGHS, swap(_IN_THE_TEXT, "&j;</td>"))),
    _named("byte-order-mark", "A byte order mark", letter("ITK003D", edits.byte_order_mark)),
    _named("utf-16", "UTF-16", letter("ITK003D", edits.utf_16)),
    _named("latin-1", "ISO-8859-1, declared", letter("ITK003D", edits.latin_1)),
    _named("latin-1-undeclared", "Bytes that are not the UTF-8 that they say they are", letter("ITK003D", edits.latin_1_undeclared)),
    _named("nul-byte", "A NUL in the narrative", letter("ITK003D", edits.nul_byte)),
    _named("too-deep", "A thousand elements inside one another", letter("ITK003D", edits.deep(1000))),
    _named("words-before", "A sentence before the XML declaration", letter("ITK003D", edits.in_words)),
    _nameless("blank", "A message of white space only", Raw(b" \r\n\t ")),
    _nameless("not-xml-at-all", "Bytes of a picture", Raw(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))),
    _nameless("html", "A web page", Raw(b"<!DOCTYPE html><html><body><p>Service unavailable</p></body></html>")),
    _nameless("other-json", "JSON that is no object", Raw(b'["not", "a", "bundle"]')),
    _named("json-cut", "JSON that ends in the middle of the letter", letter("ITK003D", lambda body: body[:6000], form="json")),
    _named("json-byte-order-mark", "JSON with a byte order mark", letter("ITK003D", edits.byte_order_mark, form="json")),
    _named("json-too-deep", "JSON with a thousand lists inside one another",
           letter("ITK003D", swap('{"resourceType":"Composition"', '{"resourceType":"Composition","x":' + "[" * 1000 + "]" * 1000),
                  form="json")),
    _nameless("gzip-cut", "Compressed by its sender, and cut off",
              Message(Letter(edits=(lambda body: edits.gzipped(body)[:200],)), claims_gzip=True)),
)  # fmt: skip

OTHER_FORMS: Final = (
    Case("json", "FHIR in JSON is taken; the responses are XML.", "standard", (accepted(letter(form="json"), *BOTH),), _XML),
    Case("json-refused", "A fault in JSON gets the same code, and the response is XML.", "standard",
         (refused(letter(form="json", recipient_type="XX"), "10010"),), (*_XML, _SHOULD)),
    Case("json-consultation-report", "A consultation report in JSON, with its PDF.", "standard",
         (accepted(letter("ITK007C", form="json"), *BOTH, attachments=1),), _XML),
    Case("prefixed-namespaces", "Every element with a namespace prefix is the same message.", "standard",
         (accepted(letter("ITK003D", edits.prefixed), *BOTH),), _XML),
    Case("comments", "Comments and processing instructions between the elements do not matter.", "standard",
         (accepted(letter("ITK003D", edits.commented), *BOTH),), _XML),
    Case("indented", "Tabs and line ends between the elements do not matter.", "standard",
         (accepted(letter("ITK003D", edits.indented), *BOTH),), _XML),
    Case("without-declaration", "No XML declaration: UTF-8 is what it is.", "standard",
         (accepted(letter("ITK003D", edits.drop(r"<\?xml[^>]*\?>\s*")), *BOTH),), _XML),
)  # fmt: skip
