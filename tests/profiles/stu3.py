"""FHIR STU3 itself, as far as a response can hold it: primitives, data types, value sets of required bindings.

Sources: FHIR 3.0.2, pages datatypes, metadatatypes, references, narrative, extensibility and the value sets named.
"""

from __future__ import annotations

import re

from profiles.elements import Node, parsed, with_children

_YEAR = r"-?([0-9]{4})"
_DATE = rf"{_YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?"
_DAY = rf"{_YEAR}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

PRIMITIVES = {
    name: re.compile(pattern)
    for name, pattern in {
        "boolean": "true|false",
        "integer": "0|-?[1-9][0-9]*",
        "unsignedInt": "0|[1-9][0-9]*",
        "positiveInt": "[1-9][0-9]*",
        "decimal": r"-?(0|[1-9][0-9]*)(\.[0-9]+)?",
        # "Strings SHALL NOT be empty" and hold something to read.
        "string": r"[\s\S]*\S[\s\S]*",
        "markdown": r"[\s\S]*\S[\s\S]*",
        "uri": r"\S+",
        "oid": r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+",
        "id": r"[A-Za-z0-9\-.]{1,64}",
        "code": r"\S+( \S+)*",
        "date": _DATE,
        "dateTime": rf"{_DATE}|{_DAY}T{_TIME}{_ZONE}",
        "instant": rf"{_DAY}T{_TIME}{_ZONE}",
        "time": _TIME,
        "base64Binary": r"[A-Za-z0-9+/=\s]+",
    }.items()
}

# Every data type has an id (an attribute) and extensions.
_EVERY_TYPE = parsed("E\n  @id 0..1\n  extension 0..* Extension")["E"].children

_TYPES = parsed("""
Meta
  versionId 0..1 id
  lastUpdated 0..1 instant
  profile 0..* uri
  security 0..* Coding
  tag 0..* Coding
Narrative
  status 1..1 code in narrative-status
  div 1..1 xhtml
Coding
  system 0..1 uri
  version 0..1 string
  code 0..1 code
  display 0..1 string
  userSelected 0..1 boolean
CodeableConcept
  coding 0..* Coding
  text 0..1 string
Period
  start 0..1 dateTime
  end 0..1 dateTime
Identifier
  use 0..1 code in identifier-use
  type 0..1 CodeableConcept
  system 0..1 uri
  value 0..1 string
  period 0..1 Period
  assigner 0..1 Reference
Reference
  reference 0..1 string
  identifier 0..1 Identifier
  display 0..1 string
HumanName
  use 0..1 code in name-use
  text 0..1 string
  family 0..1 string
  given 0..* string
  prefix 0..* string
  suffix 0..* string
  period 0..1 Period
ContactPoint
  system 0..1 code in contact-point-system
  value 0..1 string
  use 0..1 code in contact-point-use
  rank 0..1 positiveInt
  period 0..1 Period
Extension
  @url 1..1
  value[x] 0..1 base64Binary|boolean|code|date|dateTime|decimal|id|instant|integer|markdown|oid|positiveInt|string|time|unsignedInt|uri|CodeableConcept|Coding|ContactPoint|HumanName|Identifier|Period|Reference|Meta
""")

TYPES: dict[str, Node] = {name: with_children(node, [*_EVERY_TYPE, *node.children]) for name, node in _TYPES.items()}

VALUE_SETS = {
    "bundle-type": "document message transaction transaction-response batch batch-response history searchset collection",
    "narrative-status": "generated extensions additional empty",
    "identifier-use": "usual official temp secondary",
    "name-use": "usual official temp nickname anonymous old maiden",
    "contact-point-system": "phone fax email pager url sms other",
    "contact-point-use": "home work temp old mobile",
    "response-code": "ok transient-error fatal-error",
    "issue-severity": "fatal error warning information",
    "issue-type": (
        "invalid structure required value invariant security login unknown expired forbidden suppressed processing "
        "not-supported duplicate not-found too-long code-invalid extension too-costly business-rule conflict incomplete "
        "transient lock-error no-store exception timeout throttled informational"
    ),
}
CODES: dict[str, frozenset[str]] = {name: frozenset(codes.split()) for name, codes in VALUE_SETS.items()}
