"""The ITK3 standard as pure functions: bytes and values in, values and bytes out."""
