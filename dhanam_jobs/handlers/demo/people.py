"""The ids that the command line, the tests and the docs call the demo's people and spaces by."""

from typing import Final

DEMO_USER_ID: Final = "user_maria"
"""María, owner of the household's books; whom `dhanam-jobs token` speaks for unless told otherwise."""

DEMO_ADMIN_ID: Final = "user_admin"
"""Carlos, an administrator of the service, who also helps with the household's books."""

DEMO_VIEWER_ID: Final = "user_guest"
"""A guest, who may look at the household's books and change nothing."""

DEMO_SPACE_ID: Final = "space_123"
"""The household's books."""

DEMO_SPACE_IDS: Final = (DEMO_SPACE_ID, "space_456", "space_789")
"""All demo spaces; the second is Carlos's workshop, where María is a viewer, the third the guest's own."""
