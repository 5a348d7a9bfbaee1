"""Strategies: what a stranger may send. Most of it almost right, for garbage ends at the parser."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st
from lxml import etree

from mesh_itk3.simulator.messages import KINDS, a_message

FHIR = "http://hl7.org/fhir"
MARK = "Zq7Marked"
"""Stands in generated values and names, and nowhere in ours: where it comes out, a value of the message came out."""

HOSTILE = [
    "", " ", "None", "NULL", "true", "True", "0", "-1", "urn:uuid:", "#", "#a", "/", "..", "../../etc/passwd", "a/b/c", "*",
    "\t", "\n", "\r\n", "\u00a0", "\u2028", "\ufeff", "\U0001fa7b", "\u0130", "{}", "%s%n", "${x}", "<a>", "&amp;", "'", '"',
    "x" * 256, "9" * 40, "2024-02-30T25:61:61Z", "2024-01-02T03:04:05Z", "V81999", "A81001", "ITK008M", "ITK003D", "FA",
    "https://fhir.nhs.uk/STU3/MessageDefinition/ITK-eDischarge-MessageDefinition-99", "message", "document",
]  # fmt: skip

# What XML 1.0 can hold; half a surrogate and control characters come through JSON.
XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), max_size=20
)
values = st.sampled_from(HOSTILE) | XML_TEXT | XML_TEXT.map(lambda text: MARK + text)
names = st.sampled_from(
    [
        "Bundle", "entry", "resource", "fullUrl", "MessageHeader", "id", "extension", "event", "system", "code", "display",
        "receiver", "sender", "reference", "timestamp", "source", "endpoint", "response", "identifier", "details", "focus",
        "Organization", "Composition", "Patient", "subject", "section", "type", "coding", "value", "valueBoolean", "date",
        "valueCoding", "valueReference", "valueString", "Binary", "content", "contentType", "text", "div", MARK,
    ]
)  # fmt: skip
urls = st.sampled_from(
    ["BusAckRequested", "InfAckRequested", "RecipientType", "MessageDefinition", "SenderReference", "LocalExtension",
     "Priority", "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2", MARK]
)  # fmt: skip

_WHOLE = {(kind, form): a_message(kind, form=form, optional_sections=False) for kind in KINDS for form in ("xml", "json")}
whole_xml = st.sampled_from([raw for (_, form), raw in _WHOLE.items() if form == "xml"])
whole_json = st.sampled_from([raw for (_, form), raw in _WHOLE.items() if form == "json"])


# ---------------------------------------------------------------------------------------- the simulator's own choices

values_in_xml = XML_TEXT | XML_TEXT.map(lambda text: MARK + text)
header_ids = st.from_regex(r"[A-Za-z0-9.-]{1,64}", fullmatch=True)
flags = st.sampled_from([True, False, None, "junk", "TRUE", "1", ""])
# Few at a time: of several mistakes only the first is told.
choices = st.fixed_dictionaries(
    {},
    optional={
        "handling": st.booleans(),
        "business_requested": flags,
        "infrastructure_requested": flags,
        "recipient_type": st.sampled_from(["FA", "FI", "XX", None]),
        "definition": st.sampled_from([None, "", "https://fhir.nhs.uk/STU3/MessageDefinition/Unknown-1"]) | values_in_xml,
        "sender_reference": st.none() | values_in_xml,
        "local_extension": st.none() | values_in_xml,
        "priority": st.none() | st.just("routine"),
        "event": st.sampled_from([None, "ITK003D", "ITK008M", "ITK999X"]) | values_in_xml,
        "receiver_ods": st.sampled_from([None, "A81001", "B99999", "V81999"]),
        "sender_ods": st.sampled_from(["X26", "RA901"]),
        "source_endpoint": st.sampled_from(["X26ABC1", "urn:nhs-uk:addressing:ods:X26"]) | values_in_xml,
        "practice_ods": st.sampled_from(["A81001", "B99999", "V81999"]),
        "header_id": header_ids,
        "replaces": st.none() | header_ids,
        "coded": st.booleans(),
        "seed": st.sampled_from(["1", "2"]),
    },
)


@st.composite
def chosen(draw: st.DrawFn, forms: tuple[str, ...] = ("xml", "json")) -> bytes:
    """A well-formed message with up to four odd parts."""
    odd = draw(choices)
    some = draw(st.lists(st.sampled_from(sorted(odd)), max_size=4, unique=True)) if odd else []
    form = draw(st.sampled_from(forms))
    return a_message(
        draw(st.sampled_from(sorted(KINDS))), form=form, optional_sections=False, **{name: odd[name] for name in some}
    )


# ---------------------------------------------------------------------------------------- bytes


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """A message with a few runs of bytes cut out, doubled, or replaced."""
    raw = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(raw))), draw(st.integers(0, 400))
        piece = draw(st.sampled_from([b"", raw[at : at + length] * 2]) | st.binary(max_size=6))
        raw = raw[:at] + piece + raw[at + length :]
    return raw


encoded = st.builds(
    lambda raw, encoding: raw.decode("utf-8", "replace").encode(encoding, "replace"),
    damaged(whole_xml) | whole_xml | whole_json,
    st.sampled_from(["utf-16", "utf-16-be", "utf-8-sig", "utf-32", "latin-1", "ascii"]),
)
any_bytes = st.binary(max_size=300)


# ---------------------------------------------------------------------------------------- trees


def _random_element(draw: st.DrawFn, depth: int) -> etree._Element:
    element = etree.Element(f"{{{FHIR}}}{draw(names)}")
    if draw(st.booleans()):
        element.set("value", draw(values))
    if draw(st.integers(0, 4)) == 0:
        element.set("url", draw(urls))
    for _ in range(draw(st.integers(0, 3)) if depth else 0):
        element.append(_random_element(draw, depth - 1))
    return element


@st.composite
def random_tree(draw: st.DrawFn) -> bytes:
    """A bundle of FHIR's own names in no order that makes sense."""
    root = etree.Element(f"{{{FHIR}}}Bundle")
    if draw(st.integers(0, 3)):
        etree.SubElement(root, f"{{{FHIR}}}type", value="message")
    for _ in range(draw(st.integers(0, 4))):
        root.append(_random_element(draw, 4))
    return etree.tostring(root)


ANYWHERE = ("*", "MessageHeader")
"""Half of the places in the header: it is a thousandth of a letter."""
IN_THE_LETTER = (
    "Composition", "section", "Patient", "div", "Encounter", "List", "MedicationStatement", "Medication", "AllergyIntolerance",
    "Condition", "Procedure", "Practitioner", "Organization", "Binary", "identifier", "name", "entry",
)  # fmt: skip


@st.composite
def altered(draw: st.DrawFn, whole: st.SearchStrategy[bytes] = whole_xml, inside: tuple[str, ...] = ANYWHERE) -> bytes:
    """A valid message with up to six elements left out, doubled, moved, renamed, or given another value."""
    root = etree.fromstring(draw(whole))
    for _ in range(draw(st.integers(1, 6))):
        holders = list(root.iter(f"{{*}}{draw(st.sampled_from(inside))}"))
        # One holder, then one place in it: otherwise nearly all would be in the longest text.
        places = list(draw(st.sampled_from(holders)).iter(etree.Element)) if holders else []
        if places:
            _alter(draw, root, draw(st.sampled_from(places)))
    return etree.tostring(root)


def _alter(draw: st.DrawFn, root: etree._Element, element: etree._Element) -> None:
    parent = element.getparent()
    if parent is None:
        return
    how = draw(st.sampled_from(["value", "value", "left out", "doubled", "moved", "renamed", "url", "inside"]))
    if how == "value":
        element.set("value", draw(values))
    elif how == "left out":
        parent.remove(element)
    elif how == "doubled":
        element.addnext(copy.deepcopy(element))
    elif how == "moved":
        parent.remove(element)
        root.append(element)
    elif how == "renamed":
        element.tag = f"{{{draw(st.sampled_from([FHIR, 'urn:' + MARK]))}}}{draw(names)}"
    elif how == "url":
        element.set("url", draw(urls))
    else:
        element.append(_random_element(draw, 2))


# ---------------------------------------------------------------------------------------- JSON

scalars = st.none() | st.booleans() | st.integers() | st.floats() | values | st.text(max_size=8)
json_names = names | st.sampled_from(["resourceType", "url", "_id", "_value", "valueBoolean", "_", "__proto__"])
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(json_names, inner, max_size=4), max_leaves=12
)
random_json = json_values.map(
    lambda value: json.dumps({"resourceType": "Bundle", "entry": value}).encode("utf-8", "surrogatepass")
)


@st.composite
def altered_json(draw: st.DrawFn) -> bytes:
    """A valid message in JSON with up to six places left out, renamed, or holding something of another type."""
    document = json.loads(draw(whole_json))
    for _ in range(draw(st.integers(1, 6))):
        inside = document["entry"][0] if draw(st.booleans()) and document.get("entry") else document
        places = list(_places(inside))
        if places:
            holder, key = draw(st.sampled_from(places))
            _alter_json(draw, holder, key)
        if not isinstance(document.get("entry"), list):
            break
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, dict):
        return [(value, key) for key in value] + [place for inner in value.values() for place in _places(inner)]
    if isinstance(value, list):
        return [(value, at) for at in range(len(value))] + [place for inner in value for place in _places(inner)]
    return []


def _alter_json(draw: st.DrawFn, holder: Any, key: Any) -> None:
    how = draw(st.sampled_from(["value", "left out", "renamed", "wrapped"]))
    if how == "left out":
        del holder[key]
    elif how == "renamed" and isinstance(holder, dict):
        holder[draw(json_names)] = holder.pop(key)
    elif how == "wrapped":
        holder[key] = [holder[key]]
    else:
        holder[key] = draw(json_values)


messages = st.one_of(
    # Nearly messages, for garbage ends at the parser.
    chosen(),
    chosen(),
    chosen(),
    altered(),
    altered(),
    altered(chosen(("xml",))),
    altered_json(),
    altered_json(),
    random_tree(),
    random_json,
    damaged(whole_xml),
    damaged(whole_json),
    altered().flatmap(lambda raw: damaged(st.just(raw))),
    encoded,
    any_bytes,
)
"""Anything that may arrive."""
