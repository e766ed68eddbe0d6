"""Bank statements in: `read_statement` turns a CSV file into rows, `import_statement` stores them.

The command line is left to `dhanam_jobs.__main__`.
"""

from dhanam_jobs.handlers.statements.errors import AmbiguousStatement, BadRow, StatementError
from dhanam_jobs.handlers.statements.import_statement import ImportReport, import_statement
from dhanam_jobs.handlers.statements.read_statement import read_statement
from dhanam_jobs.handlers.statements.statement import Format, Hints, SkippedLine, Statement, StatementRow

__all__ = [
    "AmbiguousStatement",
    "BadRow",
    "Format",
    "Hints",
    "ImportReport",
    "SkippedLine",
    "Statement",
    "StatementError",
    "StatementRow",
    "import_statement",
    "read_statement",
]
