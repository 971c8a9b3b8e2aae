"""The generated client libraries of Google Cloud, each loaded when one of its names is first used.

Each has the types and clients of all services of an API. Together they take a sixth of a second of processor
time and 14 MiB. `cloudrun-identity run` takes the Lease before it needs them, and a standby never does.
"""

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.cloud import (
        iam_admin_v1,
        iam_credentials_v1,
        orgpolicy_v2,
        recommender_v1,
        resourcemanager_v3,
        run_v2,
    )

__all__ = [
    "iam_admin_v1",
    "iam_credentials_v1",
    "orgpolicy_v2",
    "recommender_v1",
    "resourcemanager_v3",
    "run_v2",
]


def _on_first_use(name: str) -> ModuleType:
    """Return a module of `google.cloud` that executes when one of its attributes is first read.

    https://docs.python.org/3/library/importlib.html#implementing-lazy-imports
    """
    full_name = f"google.cloud.{name}"
    if full_name in sys.modules:
        return sys.modules[full_name]
    spec = find_spec(full_name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {full_name!r}", name=full_name)
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    sys.modules[full_name] = module
    spec.loader.exec_module(module)
    setattr(sys.modules["google.cloud"], name, module)  # as the import statement does
    return module


if not TYPE_CHECKING:
    iam_admin_v1 = _on_first_use("iam_admin_v1")
    iam_credentials_v1 = _on_first_use("iam_credentials_v1")
    orgpolicy_v2 = _on_first_use("orgpolicy_v2")
    recommender_v1 = _on_first_use("recommender_v1")
    resourcemanager_v3 = _on_first_use("resourcemanager_v3")
    run_v2 = _on_first_use("run_v2")
