"""What every test of architectures shares."""

from ..configs.conftest import _leave_no_trace  # noqa: F401  (the Runner leaves global objects)
