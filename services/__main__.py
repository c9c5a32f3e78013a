"""`python -m services` is `longshore`: worker processes are started this way, so no script has to be on PATH."""

from __future__ import annotations

import sys

from services.cli import main

sys.exit(main())
