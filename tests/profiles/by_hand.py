"""The ITK3 profiles of a response, written by hand, so that responses are checked where the published profiles are not.

Sources: ITK-Message-Bundle-1 v1.1.0, ITK-MessageHeader-2 v2.1.0, Extension-ITK-MessageHandling-2 v2.1.0,
ITK-Response-OperationOutcome-1 v1.2.0, CareConnect-ITK-Header-Organization-1 v1.2.0, CareConnect-ITK-Header-Practitioner-1.
`test_profiles_by_hand.py` compares every line with the published StructureDefinitions.
"""

from __future__ import annotations

from profiles import stu3
from profiles.elements import Node, Rules, parsed, with_children
from profiles.response_table import RECIPIENT_TYPES, RESPONSE_CODES

HANDLING = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2"

_RESOURCE = parsed("R\n  id 0..1 id\n  meta 0..1 Meta\n  implicitRules 0..1 uri\n  language 0..1 code")["R"].children
_DOMAIN = parsed("D\n  text 0..1 Narrative\n  contained 0..* Resource")["D"].children
_EXTENSIBLE = parsed("E\n  extension 0..* Extension\n  modifierExtension 0..* Extension")["E"].children

_PROFILES = parsed("""
Bundle
  identifier 1..1 Identifier
    @id 0..1
    extension 0..* Extension
    use 0..1 code in identifier-use
    type 0..1 CodeableConcept
    system 0..1 uri
    value 1..1 string
    period 0..1 Period
    assigner 0..1 Reference
  type 1..1 code = message in bundle-type
  total 0..0 unsignedInt
  link 0..0 BackboneElement
  entry 1..* BackboneElement
    @id 0..1
    extension 0..* Extension
    modifierExtension 0..* Extension
    link 0..0 BackboneElement
    fullUrl 0..1 uri
    resource 1..1 Resource
    search 0..0 BackboneElement
    request 0..0 BackboneElement
    response 0..0 BackboneElement
  signature 0..0 BackboneElement

MessageHeader
  extension 0..* Extension
  extension:ITKMessageHandling 1..1 Extension of https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2
  modifierExtension 0..* Extension
  event 1..1 Coding
    @id 0..1
    extension 0..* Extension
    system 1..1 uri = https://fhir.nhs.uk/STU3/CodeSystem/ITK-MessageEvent-2
    version 0..0 string
    code 1..1 code
    display 1..1 string
    userSelected 0..0 boolean
  destination 0..0 BackboneElement
  receiver 0..1 Reference -> CareConnect-ITK-Header-Practitioner-1|CareConnect-ITK-Header-Organization-1
    @id 0..1
    extension 0..* Extension
    reference 1..1 string
    identifier 0..1 Identifier
    display 0..1 string
  sender 1..1 Reference -> CareConnect-ITK-Header-Practitioner-1|CareConnect-ITK-Header-Organization-1
    @id 0..1
    extension 0..* Extension
    reference 1..1 string
    identifier 0..1 Identifier
    display 0..1 string
  timestamp 1..1 instant
  enterer 0..0 Reference
  author 0..0 Reference
  source 1..1 BackboneElement
    @id 0..1
    extension 0..* Extension
    modifierExtension 0..* Extension
    name 0..0 string
    software 0..0 string
    version 0..0 string
    contact 0..0 ContactPoint
    endpoint 1..1 uri
  responsible 0..0 Reference
  reason 0..0 CodeableConcept
  response 0..1 BackboneElement
    @id 0..1
    extension 0..* Extension
    modifierExtension 0..* Extension
    identifier 1..1 id
    code 1..1 code in response-code
    details 1..1 Reference -> ITK-Response-OperationOutcome-1
      @id 0..1
      extension 0..* Extension
      reference 1..1 string
      identifier 0..1 Identifier
      display 0..1 string
  focus 0..1 Reference -> Resource
    @id 0..1
    extension 0..* Extension
    reference 1..1 string
    identifier 0..1 Identifier
    display 0..1 string

OperationOutcome
  issue 1..* BackboneElement
    @id 0..1
    extension 0..* Extension
    modifierExtension 0..* Extension
    severity 1..1 code in issue-severity
    code 1..1 code in issue-type
    details 1..1 CodeableConcept in ITK-ResponseCodes-1
      @id 0..1
      extension 0..* Extension
      coding 1..1 Coding
        @id 0..1
        extension 0..* Extension
        system 1..1 uri = https://fhir.nhs.uk/STU3/CodeSystem/ITK-ResponseCodes-1
        version 0..0 string
        code 1..1 code
        display 1..1 string
        userSelected 0..0 boolean
      text 0..1 string
    diagnostics 0..1 string
    location 0..* string
    expression 0..* string

Organization
  identifier 0..* Identifier
  identifier:odsOrganisationCode 0..1 Identifier
    @id 0..1
    extension 0..* Extension
    use 0..1 code in identifier-use
    type 0..1 CodeableConcept
    system 1..1 uri = https://fhir.nhs.uk/Id/ods-organization-code
    value 1..1 string
    period 0..1 Period
    assigner 0..1 Reference
  identifier:odsSiteCode 0..1 Identifier
    @id 0..1
    extension 0..* Extension
    use 0..1 code in identifier-use
    type 0..1 CodeableConcept
    system 1..1 uri = https://fhir.nhs.uk/Id/ods-site-code
    value 1..1 string
    period 0..1 Period
    assigner 0..1 Reference
  active 0..0 boolean
  type 0..0 CodeableConcept
  name 0..0 string
  alias 0..0 string
  telecom 0..0 ContactPoint
  address 0..0 Address
  partOf 0..0 Reference
  contact 0..0 BackboneElement
  endpoint 0..0 Reference

Practitioner
  identifier 0..* Identifier
  identifier:sdsUserID 0..1 Identifier
    @id 0..1
    extension 0..* Extension
    use 0..1 code in identifier-use
    type 0..1 CodeableConcept
    system 1..1 uri = https://fhir.nhs.uk/Id/sds-user-id
    value 1..1 string
    period 0..1 Period
    assigner 0..1 Reference
  identifier:sdsRoleProfileID 0..* Identifier
    @id 0..1
    extension 0..* Extension
    use 0..1 code in identifier-use
    type 0..1 CodeableConcept
    system 1..1 uri = https://fhir.nhs.uk/Id/sds-role-profile-id
    value 1..1 string
    period 0..1 Period
    assigner 0..1 Reference
  active 0..1 boolean
  name 0..1 HumanName
    @id 0..1
    extension 0..* Extension
    use 0..1 code in name-use
    text 0..0 string
    family 0..1 string
    given 0..* string
    prefix 0..* string
    suffix 0..* string
    period 0..1 Period
  telecom 0..0 ContactPoint
  address 0..0 Address
  gender 0..0 code
  birthDate 0..0 date
  photo 0..0 Attachment
  qualification 0..0 BackboneElement
  communication 0..0 CodeableConcept
""")

_KEYS = parsed("""
Extension
  @id 0..1
  extension 0..* Extension
  extension:BusAckRequested 1..1 Extension
    @id 0..1
    extension 0..* Extension
    @url 1..1 uri = BusAckRequested
    valueBoolean 1..1 boolean
  extension:InfAckRequested 1..1 Extension
    @id 0..1
    extension 0..* Extension
    @url 1..1 uri = InfAckRequested
    valueBoolean 1..1 boolean
  extension:RecipientType 1..1 Extension
    @id 0..1
    extension 0..* Extension
    @url 1..1 uri = RecipientType
    valueCoding 1..1 Coding in ITK-RecipientType-1
      @id 0..1
      extension 0..* Extension
      system 1..1 uri = https://fhir.nhs.uk/STU3/CodeSystem/ITK-RecipientType-1
      version 0..0 string
      code 1..1 code
      display 1..1 string
      userSelected 0..0 boolean
  extension:MessageDefinition 1..1 Extension
    @id 0..1
    extension 0..* Extension
    @url 1..1 uri = MessageDefinition
    valueReference 1..1 Reference
      @id 0..1
      extension 0..* Extension
      reference 1..1 string
      identifier 0..0 Identifier
      display 0..0 string
  extension:SenderReference 1..1 Extension
    @id 0..1
    extension 0..* Extension
    @url 1..1 uri = SenderReference
    valueString 1..1 string max 255
  extension:LocalExtension 1..1 Extension
    @id 0..1
    extension 0..* Extension
    @url 1..1 uri = LocalExtension
    value[x] 1..1 base64Binary|boolean|code|date|dateTime|decimal|id|instant|integer|markdown|oid|positiveInt|string|time|unsignedInt|uri|Address|Age|Annotation|Attachment|CodeableConcept|Coding|ContactPoint|Count|Distance|Duration|HumanName|Identifier|Money|Period|Quantity|Range|Ratio|Reference|SampledData|Signature|Timing|Meta
  @url 1..1 uri = https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2
""")


def _resource(node: Node) -> Node:
    """With what every resource has: a bundle less than others."""
    if node.name == "Bundle":
        return with_children(node, [*_RESOURCE, *node.children])
    own = {child.name for child in node.children}
    extensible = [each for each in _EXTENSIBLE if each.name not in own]
    return with_children(node, [*_RESOURCE, *_DOMAIN, *extensible, *node.children])


RULES = Rules(
    resources={name: _resource(node) for name, node in _PROFILES.items()},
    extensions={HANDLING: _KEYS["Extension"]},
    types=stu3.TYPES,
    primitives=stu3.PRIMITIVES,
    value_sets={
        **stu3.CODES,
        "ITK-ResponseCodes-1": frozenset(RESPONSE_CODES),
        "ITK-RecipientType-1": frozenset(RECIPIENT_TYPES),
    },
)
