"""`python -m tests.planted`: judge every planted run and write docs/debug-faults.md."""

import sys

from .judging import all_judged
from .table import PAGE, page

if __name__ == "__main__":
    text = page(*all_judged())
    PAGE.write_text(text)
    sys.stdout.write(text)
