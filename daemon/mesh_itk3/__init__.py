"""mesh-itk3: receives ITK3 FHIR messages from NHS MESH for GP practices, answers them and files them."""

__version__ = "0.1.0"
