"""Table of the permissions that let their holder gain further permissions, by how.

A permission is in the table if its holder gains more with it alone, or together with permissions that look
harmless. Where Google asks the caller for `iam.serviceAccounts.actAs` on the account of each workload, the
table has that permission and not those that deploy the workload: `run.services.create` is not in the table.

The table follows public catalogs of privilege escalation (`SOURCES`) and Google's documentation. It was
compared with the catalog of predefined roles by service and verb. `docs/reference/escalation.md` shows the
table.
"""

from typing import Final

from .contents import CONTENTS
from .control import CONTROL
from .execution import EXECUTION
from .groups import SOURCES, Escalation, Reach
from .key_material import KEY_MATERIAL

__all__ = ["SOURCES", "TABLE", "Escalation", "Reach"]

TABLE: Final[tuple[Escalation, ...]] = (*CONTROL, *KEY_MATERIAL, *EXECUTION, *CONTENTS)
"""Groups of permissions that escalate. A permission belongs to the first group that matches it."""
