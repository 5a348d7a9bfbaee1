"""The public NHS samples as letters: every word of every section is there."""

import html
import json
import os
import re
from pathlib import Path

import pytest

from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3_handlers.discharge_letters import DischargeLetters
from mesh_itk3_handlers.filing import LetterSettings
from mesh_itk3_handlers.transfer_of_care import TransferOfCare
from support.letters_builder import a_context, a_message

EXAMPLES = os.environ.get("ITK3_EXAMPLES", "")
pytestmark = [
    pytest.mark.examples,
    pytest.mark.skipif(not EXAMPLES, reason="ITK3_EXAMPLES names no folder of public samples"),
]

TRANSFER_OF_CARE = (
    "test-harness/ITK003D_ITK_eDischarge.xml",
    "test-harness/ITK004D_ITK_MentalHealtheDischarge.xml",
    "test-harness/ITK005D_ITK_EmergencyCareeDischarge.xml",
    "test-harness/ITK006D_OutpatientLetter.xml",
    "toc-message/ITK-EDIS-TEST-032a.xml",
    "toc-documents/ITK-EDIS-Example-1.xml",
    "toc-documents/ITK-EC-Document-Bundle-1-Example-1.xml",
    "toc-documents/ITK-MH-Document-Bundle-Example-1.xml",
    "toc-documents/ITK-OPL-Document-Bundle-1-Example-4.xml",
)
LETTERS = (
    "send-document/consultation_report.xml",
    "send-document/example-generic-wireframe-moe-degrasse.xml",
    "parser-traps/example-oc-anne-teak.xml",
    "test-harness/ITK009D_ITK_Immunization_Document.xml",
    "test-harness/ITK010D_ITK_EmergencySupply.xml",
    "digital-medicines/vaccination--digimeds--covid-19--data-processing-service.xml",
    "digital-medicines/vaccination--digimeds--seasonal-influenza--pharmacy.xml",
    "digital-medicines/Example-DigiMeds-Emergency-Supply-Of-Medicines-1.xml",
    "parser-traps/engage_jack_smith_mirc.block2.xml",
)


def wrapped(raw: bytes) -> bytes:
    """A naked document as the message that it would come in."""
    reading = read_message(raw, Caps())
    if reading.envelope is None or reading.envelope.documents:
        return raw
    document = re.sub(rb"^\s*(?:<\?xml.*?\?>)?\s*", b"", raw, flags=re.DOTALL)
    return (
        b'<Bundle xmlns="http://hl7.org/fhir"><type value="message"/><entry><resource><MessageHeader><id value="wrapped"/>'
        b"</MessageHeader></resource></entry><entry><resource>" + document + b"</resource></entry></Bundle>"
    )


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    ("handler_class", "name"), [(TransferOfCare, n) for n in TRANSFER_OF_CARE] + [(DischargeLetters, n) for n in LETTERS]
)
def test_every_word_of_every_section_is_in_the_letter(tmp_path, handler_class, name):
    message = a_message(wrapped((Path(EXAMPLES) / name).read_bytes()))
    assert message.document is not None
    handler = handler_class(LetterSettings(output=tmp_path))
    assert type(handler.examine(message)).__name__ == "Accept"
    handler.handle(message, a_context())
    (place,) = tmp_path.glob("*/*")
    page = (place / "letter.html").read_text("utf-8")
    words = squeezed(html.unescape(re.sub("<[^>]*>", "", page)))
    for section in message.document.all_sections():
        assert squeezed(section.title) in words
        assert section.div is None or squeezed("".join(section.div.itertext())) in words
    structured = json.loads((place / "structured.json").read_bytes())
    assert len(structured["sections"]) == len(list(message.document.all_sections()))
    metadata = json.loads((place / "metadata.json").read_bytes())
    assert metadata["author"]
    assert len(metadata["attachments"]) == len(message.document.attachments)
    assert metadata["patient"]["family_name"]
    assert not [warning for warning in metadata["warnings"] if warning.startswith(("narrative", "attachment"))]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("send-document/consultation_report.xml", 38_203),
        ("send-document/example-generic-wireframe-moe-degrasse.xml", 55_293),
        ("parser-traps/example-oc-anne-teak.xml", 56_750),
    ],
)
def test_the_pdf_of_a_send_document_is_filed_whole(tmp_path, name, size):
    message = a_message((Path(EXAMPLES) / name).read_bytes())
    DischargeLetters(LetterSettings(output=tmp_path)).handle(message, a_context())
    (pdf,) = tmp_path.glob("*/*/attachments/01.pdf")
    content = pdf.read_bytes()
    assert len(content) == size
    assert content.startswith(b"%PDF-")
    assert b"%%EOF" in content[-64:]


def test_coded_lists_of_a_discharge_summary_are_read(tmp_path):
    message = a_message(wrapped((Path(EXAMPLES) / "toc-documents/ITK-EDIS-Example-1.xml").read_bytes()))
    TransferOfCare(LetterSettings(output=tmp_path)).handle(message, a_context())
    (path,) = tmp_path.glob("*/*/structured.json")
    filed = json.loads(path.read_bytes())
    assert len(filed["medications"]) == 5
    assert [item["change"]["status"] for item in filed["medications"]].count("Added") == 1
    assert len(filed["diagnoses"]) == 3
    assert len(filed["procedures"]) == 3
    assert filed["allergies"][0]["is_negation"] is False
    assert filed["encounter"]["start"] == "2015-02-12T09:00:00+00:00"
