"""`mesh-itk3 run` that waits shorter for others: `python impatient.py CONFIG`, DRAIN_S in the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mesh_itk3 import service
from mesh_itk3.inner_process import Pauses

if __name__ == "__main__":
    waits = service.Waits(drain_s=float(os.environ.get("DRAIN_S", "15")), pauses=Pauses(first_s=0.01, longest_s=0.05))
    sys.exit(service.run(Path(sys.argv[1]), None, once=False, waits=waits))
