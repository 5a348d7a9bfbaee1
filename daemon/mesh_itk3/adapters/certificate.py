"""When a client certificate runs out. NHS certificates take about five working days to order."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

EXPIRES_SOON: Final = timedelta(days=30)
"""A month leaves time for holidays."""


def expires_at(certificate_file: Path) -> datetime | None:
    """UTC; None where it cannot be read, which the next handshake says."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(certificate_file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None
