"""The hospital reads whatever a practice may write, and says plainly what it could not read."""

import os
from pathlib import Path

import pytest

from mesh_itk3.simulator.messages import a_message, choose, not_well_formed
from mesh_itk3.simulator.response_reader import header_id_of, read_response

RESPONSE = """<Bundle xmlns="http://hl7.org/fhir"><type value="message"/><entry><resource><MessageHeader><id value="r-1"/>
<extension url="https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2">
<extension url="BusAckRequested"><valueBoolean value="false"/></extension>
<extension url="InfAckRequested"><valueBoolean value="false"/></extension>
<extension url="SenderReference"><valueString value="ward/7"/></extension></extension>
<event><system value="s"/><code value="ITK008M"/></event><source><endpoint value="X26ABC2"/></source>
<response><identifier value="m-1"/><code value="fatal-error"/></response></MessageHeader></resource></entry>
<entry><resource><OperationOutcome><issue><severity value="fatal"/><code value="not-found"/><details><coding>
<system value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-ResponseCodes-1"/><code value="30002"/><display value="Not here"/>
</coding></details><diagnostics value="because"/></issue></OperationOutcome></resource></entry></Bundle>"""


def test_everything_a_response_says_is_read():
    response = read_response(RESPONSE.encode())
    assert (response.answers, response.code, response.display, response.level) == ("m-1", "30002", "Not here", "business")
    assert (response.severity, response.issue_code, response.diagnostics) == ("fatal", "not-found", "because")
    assert (response.response_code, response.sender_reference, response.source_endpoint) == ("fatal-error", "ward/7", "X26ABC2")
    assert (response.business_requested, response.infrastructure_requested) == ("false", "false")


def test_a_prefixed_namespace_and_a_bare_response_are_read():
    prefixed = RESPONSE.replace("<", "<f:").replace("<f:/", "</f:").replace("xmlns=", "xmlns:f=")
    assert read_response(prefixed.encode()).code == "30002"
    bare = "<Bundle><MessageHeader><event><code value='ITK008M'/></event></MessageHeader></Bundle>"
    assert read_response(bare.encode()).code is None


@pytest.mark.parametrize("raw", [b"", b"\x00\xff", b"{}", b"<a>", b"<a/>"])
def test_what_is_no_response_is_none(raw):
    assert read_response(raw) is None


def test_a_letter_is_no_response():
    assert read_response(a_message("ITK003D")) is None


def test_the_header_id_is_found_even_in_a_broken_message():
    broken = not_well_formed(a_message("ITK003D"))
    assert header_id_of(broken) == choose("ITK003D").message_header_id
    assert header_id_of(b"") is None


@pytest.mark.examples
@pytest.mark.skipif("ITK3_EXAMPLES" not in os.environ, reason="ITK3_EXAMPLES names no folder of public samples")
def test_every_published_response_is_read_with_its_code():
    for file in sorted((Path(os.environ["ITK3_EXAMPLES"]) / "responses").glob("*.xml")):
        response = read_response(file.read_bytes())
        assert response.code == file.stem
        assert response.level == ("business" if file.stem.startswith("3") else "infrastructure")
