"""Settings of all Python tests."""

from __future__ import annotations

import torch

# More threads than one only slow models this small down.
torch.set_num_threads(1)
