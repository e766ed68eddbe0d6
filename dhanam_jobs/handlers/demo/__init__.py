"""The demo: three people, three spaces and a household's bank statements, invented but honest.

The data stand beside this file: `books.json` in the load format and `space_123.csv` with the household's 120
transactions. Nothing in them says which rule matches what; that is found by running the rules.
"""

from dhanam_jobs.handlers.demo.demo import create_demo, reset_demo
from dhanam_jobs.handlers.demo.people import (
    DEMO_ADMIN_ID,
    DEMO_SPACE_ID,
    DEMO_SPACE_IDS,
    DEMO_USER_ID,
    DEMO_VIEWER_ID,
)

__all__ = [
    "DEMO_ADMIN_ID",
    "DEMO_SPACE_ID",
    "DEMO_SPACE_IDS",
    "DEMO_USER_ID",
    "DEMO_VIEWER_ID",
    "create_demo",
    "reset_demo",
]
