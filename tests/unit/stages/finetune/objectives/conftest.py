from __future__ import annotations

import os

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # it is an oracle here, of the version in the lock
