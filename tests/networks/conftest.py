"""These tests need torch, an extra: without it the run says that it left them out."""

import pytest

torch = pytest.importorskip("torch", reason="tests/networks need torch: pip install 'noetherflow[torch]'")
torch.set_num_threads(1)  # products of small matrices
