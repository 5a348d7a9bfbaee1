"""What is read of each key of the handling specification: the value as far as it can be read, and what is wrong with it."""

from __future__ import annotations

import re

import pytest

from itk3.a_message import EXTENSION, RECIPIENT_TYPE, a_message, definition, flag, handling, recipient_type
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.handling_specification import HandlingSpecification, Key


def read(*, also: str = "", url: str = EXTENSION, **keys: str | None) -> HandlingSpecification:
    specification = handling(**keys).replace(EXTENSION, url)
    return read_message(a_message(specification=specification + also), Caps()).header.handling


def brief(content: object) -> str:
    """The name of a row: its words."""
    return " ".join(re.findall(r"[A-Za-z0-9]+", str(content)))[:60] or "nothing"


def text(value: str) -> str:
    return f'<valueString value="{value}"/>'


def given(value: str | None = None, *, problem: str | None = None, deviation: str | None = None) -> Key:
    return Key(present=True, value=value, problem=problem, deviation=deviation)


BOOLEANS = {
    flag("true"): given("true"),
    flag("false"): given("false"),
    flag(" true\n"): given("true"),
    flag("True"): given(problem="not_a_boolean"),
    flag("1"): given(problem="not_a_boolean"),
    flag(""): given(problem="not_a_boolean"),
    text("true"): given(problem="not_a_boolean"),
    "": given(problem="not_a_boolean"),
}


@pytest.mark.parametrize("content", BOOLEANS, ids=brief)
def test_a_flag_is_true_or_false_and_nothing_else_is(content):
    assert read(BusAckRequested=content).bus_ack_requested == BOOLEANS[content]
    assert read(InfAckRequested=content).inf_ack_requested == BOOLEANS[content]


@pytest.mark.parametrize(
    ("content", "counts"),
    [(flag("true"), True), (flag("false"), False), (flag("maybe"), None), ("", None), (None, None)],
    ids=["true", "false", "unreadable", "empty", "absent"],
)
def test_an_unreadable_flag_is_not_false(content, counts):
    assert read(BusAckRequested=content).bus_ack is counts
    assert read(InfAckRequested=content).inf_ack is counts


UNKNOWN_SYSTEM = given("FA", problem="recipient_type_system")
RECIPIENT_TYPES = {
    recipient_type("FA", display="For Action"): given("FA"),
    recipient_type("FI", display="For Information"): given("FI"),
    recipient_type("FI", display="For Action"): given("FI", deviation="recipient_type_display"),
    recipient_type(display="for action"): given("FA", deviation="recipient_type_display"),
    recipient_type(system="urn:other"): UNKNOWN_SYSTEM,
    recipient_type(system="urn:other", display="For Information"): UNKNOWN_SYSTEM,
    recipient_type("fa"): given(problem="recipient_type_code"),
    recipient_type(""): given(problem="recipient_type_code"),
    f'<valueCoding><system value="{RECIPIENT_TYPE}"/></valueCoding>': given(problem="recipient_type_code"),
    text("FA"): given(problem="recipient_type_code"),
}


@pytest.mark.parametrize("content", RECIPIENT_TYPES, ids=brief)
def test_a_recipient_type_is_one_of_two_codes_of_the_standards_own_system(content):
    assert read(RecipientType=content).recipient_type == RECIPIENT_TYPES[content]


def test_a_message_definition_is_a_reference():
    url = "https://fhir.nhs.uk/STU3/MessageDefinition/ITK-OPL-MessageDefinition-4"
    assert read(MessageDefinition=definition("ITK-OPL-MessageDefinition-4")).message_definition == given(url)
    empty = given(problem="message_definition_empty")
    for content in ("", text(url), "<valueReference/>", '<valueReference><reference value=" "/></valueReference>'):
        assert read(MessageDefinition=content).message_definition == empty


REFERENCE = '<valueReference><reference value="{}"/></valueReference>'
SENDER_REFERENCES = {
    text("None"): given("None"),
    text("  two  words "): given("  two  words "),
    text("x" * 255): given("x" * 255),
    text("x" * 256): given("x" * 256, problem="sender_reference_too_long"),
    text(""): given(problem="sender_reference_empty"),
    text("   "): given(problem="sender_reference_empty"),
    "<valueString/>": given(problem="sender_reference_empty"),
    "": given(problem="sender_reference_empty"),
    REFERENCE.format("abc"): given("abc", deviation="sender_reference_not_a_string"),
    REFERENCE.format("x" * 256): given(
        "x" * 256, problem="sender_reference_too_long", deviation="sender_reference_not_a_string"
    ),
    REFERENCE.format(""): given(problem="sender_reference_empty"),
    REFERENCE.format("abc") + text(""): given(problem="sender_reference_empty"),
    REFERENCE.format("abc") + text("def"): given("def"),
}


@pytest.mark.parametrize("content", SENDER_REFERENCES, ids=brief)
def test_a_sender_reference_is_kept_exactly_as_it_is_written(content):
    assert read(SenderReference=content).sender_reference == SENDER_REFERENCES[content]


LOCAL_EXTENSIONS = {
    text("None"): given("None"),
    text(" None "): given("None"),
    '<valueCoding><code value="x"/></valueCoding>': given(),
    "<valueString/>" + text("later"): given("later"),
    "<!-- valueString -->" + text("later"): given("later"),
    '<id value="x"/>' + text("None"): given("None"),
    '<id value="x"/>': given(problem="local_extension_empty"),
    "<valueString/>": given(problem="local_extension_empty"),
    text(" "): given(problem="local_extension_empty"),
    "": given(problem="local_extension_empty"),
}


@pytest.mark.parametrize("content", LOCAL_EXTENSIONS, ids=brief)
def test_a_local_extension_holds_a_value_of_any_type(content):
    assert read(LocalExtension=content).local_extension == LOCAL_EXTENSIONS[content]


KEYS = {
    "BusAckRequested": "bus_ack_requested",
    "InfAckRequested": "inf_ack_requested",
    "RecipientType": "recipient_type",
    "MessageDefinition": "message_definition",
    "SenderReference": "sender_reference",
    "LocalExtension": "local_extension",
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_is_not_there_is_absent_and_the_others_are_read(name):
    whole, found = read(), read(**{name: None})
    for key in KEYS.values():
        assert getattr(found, key) == (Key() if key == KEYS[name] else getattr(whole, key))
    assert (found.present, found.repeated, found.has_priority) == (True, False, False)


def again(name: str, content: str) -> str:
    """Put behind the content of a key: the next one is a key of its own."""
    return f'</extension><extension url="{name}">{content}'


def test_a_key_that_says_the_same_twice_counts_once():
    twice = text("a") + again("SenderReference", text("a"))
    assert read(SenderReference=twice).sender_reference == given("a")


def test_of_a_key_that_contradicts_itself_the_first_is_read_and_nothing_is_usable():
    twice = text("a") + again("SenderReference", text("b"))
    assert read(SenderReference=twice).sender_reference == given("a", problem="repeated_differently")
    flags = flag("false") + again("InfAckRequested", flag("true"))
    assert read(InfAckRequested=flags).inf_ack_requested == given("false", problem="repeated_differently")
    assert read(InfAckRequested=flags).inf_ack is None


def test_urls_of_extensions_may_stand_among_blanks():
    assert read(url=f" {EXTENSION} ") == read()
    assert read(SenderReference=None, **{" SenderReference ": text("a")}).sender_reference == given("a")


def test_of_two_handling_specifications_the_first_is_read():
    found = read(SenderReference=text("first"), also=handling(SenderReference=text("second")))
    assert (found.present, found.repeated) == (True, True)
    assert found.sender_reference == given("first")


def test_without_a_handling_specification_nothing_is_asked():
    found = read(url="urn:other")
    assert found == HandlingSpecification()
    assert (found.present, found.repeated, found.bus_ack, found.inf_ack, found.has_priority) == (
        False,
        False,
        None,
        None,
        False,
    )


def test_a_priority_is_noticed():
    assert read(Priority='<valueCoding><code value="routine"/></valueCoding>').has_priority
