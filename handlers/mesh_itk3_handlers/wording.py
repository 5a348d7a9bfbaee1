"""FHIR STU3 datatypes as words for a reader. PURE. Nothing is computed that the sender did not write."""

from __future__ import annotations

import re
from typing import Final

from mesh_itk3.itk3.document import Part, Resource
from mesh_itk3_handlers.contents import Contents

_DATE: Final = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d))?)?"
    r"(?:[T ](?P<time>\d\d:\d\d)(?::(?P<seconds>\d\d)(?:\.\d+)?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?"
)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_words(text: str | None) -> str:
    """`17-Feb-2015 10:00 (+00:00)`: the form that NHS screens use, with the zone as it was written, because summer samples
    carry +00:00 too and nobody knows what their authors meant. What is no FHIR date stays as it is.
    """
    found = _DATE.fullmatch((text or "").strip())
    if found is None:
        return (text or "").strip()
    words = "-".join(part for part in (found["day"], _month(found["month"]), found["year"]) if part)
    if found["time"]:
        words += f" {found['time']}"
    if found["zone"]:
        words += f" ({found['zone'].replace('Z', 'UTC')})"
    return words


def _month(digits: str | None) -> str | None:
    if digits is None:
        return None
    number = int(digits)
    return _MONTHS[number - 1] if 1 <= number <= len(_MONTHS) else digits


def best_name(holder: Part) -> Part | None:
    """The HumanName to show: official, else usual, else the first."""
    names = holder.all("name")
    for use in ("official", "usual"):
        for name in names:
            if name.value("use") == use:
                return name
    return names[0] if names else None


def person_name(holder: Part) -> str:
    """`Dr Paul Rastall`."""
    name = best_name(holder)
    if name is None:
        return ""
    parts = (*name.values("prefix"), *name.values("given"), *name.values("family"), *name.values("suffix"))
    return " ".join(parts) or name.value("text") or ""


def patient_name(holder: Part) -> str:
    """`SMITH, Richard (Mr)`: the form that NHS patient banners use."""
    name = best_name(holder)
    if name is None:
        return ""
    family, given = " ".join(name.values("family")).upper(), " ".join(name.values("given"))
    words = ", ".join(part for part in (family, given) if part) or name.value("text") or ""
    prefix = " ".join(name.values("prefix"))
    return f"{words} ({prefix})" if prefix and words else words


def address_words(holder: Part, path: str = "address") -> str:
    """The first address on one line."""
    for address in holder.all(path):
        parts = [*address.values("line")]
        parts += [value for field in ("city", "district", "postalCode") if (value := address.value(field))]
        words = ", ".join(part.rstrip(", ") for part in parts) or address.value("text") or ""
        if words:
            return words
    return ""


def telecom_words(holder: Part) -> str:
    return ", ".join(dict.fromkeys(holder.values("telecom/value")))


def coded_words(holder: Part, path: str) -> str:
    """A CodeableConcept or Coding in words: its text, else a display, else a code."""
    return next((words for concept in holder.all(path) if (words := concept_words(concept))), "")


def concept_words(concept: Part) -> str:
    """The same of the CodeableConcept or Coding itself."""
    fields = ("text", "coding/display", "display", "coding/code", "code")
    return next((words for field in fields if (words := concept.value(field))), "")


def extension_words(holder: Part | None, url_tail: str) -> str:
    """The coded or plain value of the extension whose url ends so."""
    extension = holder.extension(url_tail) if holder is not None else None
    if extension is None:
        return ""
    words = coded_words(extension, "valueCodeableConcept") or coded_words(extension, "valueCoding")
    return words or next((value for kind in ("Code", "String", "DateTime") if (value := extension.value(f"value{kind}"))), "")


def resource_words(resource: Resource) -> str:
    """What a reader calls this resource: a person's or organisation's name, else its code and value."""
    if resource.all("name/family") or resource.all("name/text"):
        return person_name(resource)
    code_field = next((field for field in ("code", "vaccineCode", "type", "class") if resource.all(field)), "code")
    words = resource.value("name") or coded_words(resource, code_field)
    return ": ".join(part for part in (words, _value_words(resource)) if part)


def _value_words(resource: Resource) -> str:
    quantity = " ".join(resource.values("valueQuantity/value") + resource.values("valueQuantity/unit"))
    return quantity or resource.value("valueString") or coded_words(resource, "valueCodeableConcept")


def role_words(contents: Contents, person: Resource) -> str:
    """What the document's PractitionerRole says about a Practitioner: role and specialty."""
    for entry in contents.of_type("PractitionerRole"):
        if contents.resolve(entry.value("practitioner/reference")) is person:
            return ", ".join(part for part in (coded_words(entry, "code"), coded_words(entry, "specialty")) if part)
    return ""


def nhs_number_words(number: str | None) -> str:
    """`485 777 3456`; what has not ten digits stays as it is."""
    text = number or ""
    return f"{text[:3]} {text[3:6]} {text[6:]}" if re.fullmatch(r"[0-9]{10}", text) else text
