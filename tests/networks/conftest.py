"""These tests need torch, an extra: without it the run says that it left them out."""

import pytest

pytest.importorskip("torch", reason="tests/networks need torch: pip install 'noetherflow[torch]'")
