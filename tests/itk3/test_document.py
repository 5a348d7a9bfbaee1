"""What a handler sees of a document."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from itk3.a_message import (
    COMPOSITION_ID,
    PATIENT_ID,
    SENDER_ID,
    a_message,
    binary,
    composition,
    document,
    entry,
    organisation,
    patient,
    section,
)
from mesh_itk3.itk3.document import InvalidAttachment
from mesh_itk3.itk3.envelope import Caps, read_message

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def the_document(*content: str, **parts):
    inner = "".join(content) if content else None
    return read_message(a_message(documents=document(inner, **parts)), Caps()).envelope.document


def with_sections(*sections: str):
    return the_document(composition(sections="".join(sections)), patient())


def test_the_composition_is_read():
    found = the_document(composition(), patient(), organisation(SENDER_ID, "ra901"))
    assert (found.type_code, found.title, found.status) == ("373942005", "Discharge summary", "final")
    assert found.date == "2024-01-02T03:04:05+00:00"
    assert [author.type for author in found.author] == ["Organization"]
    assert (found.custodian, found.custodian_ods_code, found.confidentiality, found.last_updated) == (None, None, None, None)


def test_the_custodians_code_is_read_in_upper_case():
    with_custodian = composition().replace("</Composition>", '<custodian><reference value="c"/></custodian></Composition>')
    assert the_document(with_custodian, patient(), organisation("c", "ra901")).custodian_ods_code == "RA901"


IDENTITIES = {
    "system and value": ("", "urn:systems|the-document"),
    "value alone": ('<identifier><value value="v"/></identifier>', "|v"),
    "Bundle.id": ("none", "|the-id"),
}


@pytest.mark.parametrize("row", IDENTITIES)
def test_a_document_is_told_apart_by_its_identifier_else_its_id(row):
    identifier, expected = IDENTITIES[row]
    parts = {} if not identifier else {"identifier": "" if identifier == "none" else identifier}
    assert the_document(bundle_id="the-id", **parts).document_id == expected


def test_a_document_without_identifier_and_id_has_nothing_to_be_told_apart_by():
    assert the_document(bundle_id="", identifier="").document_id is None
    assert the_document(bundle_id="", identifier='<identifier><system value="s"/></identifier>').document_id is None


def test_the_patient_is_the_one_that_the_composition_names():
    found = the_document(patient("somebody-else"), composition(), patient())
    assert found.patient.id == PATIENT_ID
    assert the_document(composition(subject=None), patient()).patient is None
    assert the_document(composition(subject=None), patient()).patient_identity is None


def test_a_patient_contained_in_the_composition_is_found():
    holding = composition(subject="#p").replace(
        "<identifier>", '<contained><Patient><id value="p"/></Patient></contained><identifier>', 1
    )
    assert the_document(holding).patient.id == "p"


REPLACES = '<relatesTo><code value="{}"/><targetIdentifier><value value="old"/></targetIdentifier></relatesTo>'
RELATIONS = {
    "replaces": (REPLACES.format("replaces"), True, "old"),
    "appends": (REPLACES.format("appends"), False, None),
    "replaces nothing by name": ('<relatesTo><code value="replaces"/></relatesTo>', True, None),
    "second": (REPLACES.format("appends") + REPLACES.format("replaces"), True, "old"),
    "none": ("", False, None),
}


@pytest.mark.parametrize("row", RELATIONS)
def test_a_replacement_names_what_it_replaces(row):
    relates_to, is_replacement, replaces = RELATIONS[row]
    found = the_document(composition(relates_to=relates_to), patient())
    assert (found.is_replacement, found.replaces) == (is_replacement, replaces)


# --------------------------------------------------------------------------------------------- sections

TABLE = f"<div {XHTML}><table><tr><th>Drug</th><td>A &lt; B</td></tr><tr><td>two</td></tr></table>end</div>"
NARRATIVES = {
    "table": (TABLE, "Drug A < B\ntwo\nend"),
    "paragraphs": (f"<div {XHTML}><p>one</p><p>two</p></div>", "one\ntwo"),
    "line break": (f"<div {XHTML}>one<br/>two</div>", "one\ntwo"),
    "inline": (f"<div {XHTML}>Do <b>not</b>\n   stop</div>", "Do not stop"),
    "without the namespace": ("<div><p>x</p></div>", "x"),
    "empty div": (f"<div {XHTML}/>", ""),
    "prefixed": ('<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>x</h:p></h:div>', "x"),
    "no text": (None, ""),
}


@pytest.mark.parametrize("row", NARRATIVES)
def test_a_narrative_reads_as_plain_text(row):
    div, text = NARRATIVES[row]
    (found,) = with_sections(section(div=div)).sections
    assert found.text() == text
    assert (found.div is None) is (div is None)


def test_sections_keep_their_order_codes_and_titles():
    found = with_sections(section("B", "2 "), section("A", "1"), "<section/>").sections
    assert [(part.title, part.code) for part in found] == [("B", "2"), ("A", "1"), ("", None)]
    assert found[1].where == "Bundle.entry[2].resource.entry[0].resource.section[1]"


def test_a_section_without_a_title_has_its_codes_display():
    untitled = '<section><code><coding><display value="Plan"/></coding></code></section>'
    assert with_sections(untitled).sections[0].title == "Plan"


def test_nested_sections_belong_to_the_one_that_holds_them():
    nested = section("outer", more=section("inner", div=f"<div {XHTML}>deep</div>", more=section("innermost")))
    found = with_sections(nested, section("last"))
    assert [part.title for part in found.sections] == ["outer", "last"]
    assert found.sections[0].sections[0].text() == "deep"
    assert [part.title for part in found.all_sections()] == ["outer", "inner", "innermost", "last"]


# --------------------------------------------------------------------------------------------- attachments

PDF = b"%PDF-1.4 " + bytes(range(256)) * 3


def attachments_of(*binaries: str):
    return the_document(composition(), patient(), *binaries).attachments


def decoded(attachment) -> bytes:
    file = io.BytesIO()
    assert attachment.write_to(file) == len(file.getvalue())
    return file.getvalue()


@pytest.mark.parametrize("element", ["content", "data"])
def test_an_attachment_is_decoded(element):
    (found,) = attachments_of(binary("b", PDF, element=element))
    assert found.content_type == "application/pdf"
    assert decoded(found) == PDF


def test_every_attachment_is_there_and_those_in_sections_come_first():
    referring = section(more='<entry><reference value="urn:uuid:c"/></entry><entry><reference value="Patient/x"/></entry>')
    nested = section(more=section(more='<entry><reference value="Binary/b"/></entry><entry><reference value="c"/></entry>'))
    found = the_document(
        composition(sections=referring + nested), patient(), binary("a", b"a"), binary("b", b"b"), binary("c", b"c")
    )
    assert [attachment.resource.id for attachment in found.attachments] == ["c", "b", "a"]


GOOD = {
    "line ends": ("QUJ\n  DRE\r\n\tVG", b"ABCDEF"),
    "one byte": ("QQ==", b"A"),
    "two bytes": ("QUI=", b"AB"),
    "white space in the padding": ("QQ= =", b"A"),
}
BAD = {
    "empty": "",
    "blank": "   ",
    "url-safe": "_-8=",
    "no padding": "QQ",
    "padding alone": "====",
    "text behind the padding": "QQ==QUJD",
    "one character": "Q",
    "not base64": "hello, world",
    "not ascii": "QUJDé",
    "wide blanks": "QUJD\u00a0QUJD",
}


@pytest.mark.parametrize("row", GOOD)
def test_base64_may_hold_white_space(row):
    text, content = GOOD[row]
    (found,) = attachments_of(binary("b", text.replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")))
    assert decoded(found) == content


@pytest.mark.parametrize("row", BAD)
def test_anything_else_is_an_invalid_attachment(row):
    (found,) = attachments_of(binary("b", BAD[row]))
    with pytest.raises(InvalidAttachment):
        found.write_to(io.BytesIO())


def test_a_binary_without_content_is_an_invalid_attachment():
    (found,) = attachments_of(entry('<Binary><id value="b"/></Binary>', None))
    assert found.content_type is None
    with pytest.raises(InvalidAttachment, match="content_missing"):
        found.write_to(io.BytesIO())


@pytest.mark.parametrize("length", [65_534, 65_535, 65_536, 65_537, 131_072, 200_001])
def test_blocks_join_without_a_seam(length):
    content = bytes(at % 251 for at in range(length))
    (found,) = attachments_of(binary("b", content))
    assert decoded(found) == content


def test_padding_in_the_middle_of_a_long_attachment_is_found():
    text = "A" * 65_532 + "QQ==" + "QUJD"
    (found,) = attachments_of(binary("b", text))
    with pytest.raises(InvalidAttachment):
        found.write_to(io.BytesIO())


class Nowhere(io.RawIOBase):
    def write(self, block) -> int:
        return len(block)


def test_decoding_takes_no_memory_beside_one_copy_of_the_text():
    size = 8_000_000
    (found,) = attachments_of(binary("b", "QUJD" * (size // 4)))
    tracemalloc.start()
    try:
        assert found.write_to(Nowhere()) == size // 4 * 3
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size + 1_000_000


# --------------------------------------------------------------------------------------------- resources


def test_parts_of_a_resource_are_read_by_their_path():
    person = patient(
        content='<name><given value=" Ann "/><given value="B"/></name><name><given value="C"/></name><active value="true"/>'
    )
    found = the_document(composition(), person).patient
    assert found.value("name/given") == "Ann"
    assert found.values("name/given") == ("Ann", "B", "C")
    assert [part.value("given") for part in found.all("name")] == ["Ann", "C"]
    assert (found.value("birthDate"), found.values("contact/name"), found.all("contact")) == (None, (), ())
    assert (found.type, found.name, found.full_url) == ("Patient", "Patient", f"urn:uuid:{PATIENT_ID}")


def test_an_extension_is_found_by_the_end_of_its_url():
    person = patient(content='<extension url="https://one.test/Extension-X-1"><valueCode value="a"/></extension>')
    found = the_document(composition(), person).patient
    assert found.extension("Extension-X-1").value("valueCode") == "a"
    assert found.extension("Extension-Y-1") is None


def test_one_resource_can_be_had_as_a_typed_model():
    found = the_document(composition(), patient(content='<gender value="female"/>')).patient.model()
    assert found.get_resource_type() == "Patient"
    assert (found.gender, found.id) == ("female", PATIENT_ID)


def test_what_is_absent_is_empty():
    found = the_document("<entry/>")
    assert (found.composition, found.patient, found.sections, found.attachments, found.author) == (None, None, (), (), ())
    assert (found.title, found.type_code, found.date, found.replaces, found.is_replacement) == (None, None, None, None, False)


# --------------------------------------------------------------------------------------------- looked up or indexed

ALIKE = "urn:uuid:0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4eaa"
LOOK_UPS = {
    # what the subject says -> which of the two patients it means
    "as the first is written": (ALIKE.upper().replace("URN:UUID", "urn:uuid"), "one"),
    "as the second is written": (ALIKE, "two"),
    "as neither is written": (ALIKE.removeprefix("urn:uuid:"), "one"),
}


@pytest.mark.parametrize("row", LOOK_UPS)
@pytest.mark.parametrize("is_indexed", [False, True])
def test_a_resource_is_the_same_whether_it_is_looked_up_or_found_in_the_index(row, is_indexed):
    """Two fullUrls that differ in case alone: hostile, or a sender's slip. Never two patients for one letter."""
    subject, meant = LOOK_UPS[row]
    first = entry('<Patient><id value="one"/></Patient>', ALIKE.upper().replace("URN:UUID", "urn:uuid"))
    second = entry('<Patient><id value="two"/></Patient>', ALIKE)
    found = the_document(composition(subject=subject), first, second)
    if is_indexed:
        assert len(found.entries) == 3
    assert found.patient.id == meant
    assert found.patient.where.endswith(f".entry[{1 if meant == 'one' else 2}].resource")


def test_many_look_ups_find_what_few_do():
    names = [f"p{number}" for number in range(9)]
    found = the_document(composition(), *(patient(name) for name in names))
    assert [found.resolve(f"urn:uuid:{name}").id for name in names] == names
    assert found.resolve("urn:uuid:nobody") is None


def test_a_composition_that_is_not_first_is_found_with_its_path():
    found = the_document(patient(), patient("other"), composition())
    assert found.composition.where.endswith(".entry[2].resource")
    assert found.composition.full_url == f"urn:uuid:{COMPOSITION_ID}"


def test_binaries_are_those_of_the_entries_and_those_that_the_composition_holds():
    held = '<contained><Binary><id value="held"/><content value="JVBERi0="/></Binary></contained>'
    found = the_document(composition(relates_to=held), patient(), binary("b1", b"%PDF-1"), binary("b2", b"%PDF-2"))
    assert [each.resource.id for each in found.binaries] == ["b1", "b2", "held"]
    assert [each.start for each in found.binaries] == [b"%PDF-1", b"%PDF-2", b"%PDF-"]
