"""`python -m dico`: see `dico.cli`."""

from __future__ import annotations

import sys

from dico.cli import main

sys.exit(main())
