"""A question in, a search query out: words of the user are joined by the words of the documentation.

`shlex` keeps "quoted phrases" together. It also takes an apostrophe for an opening quote: a fault left in on purpose,
as found in real programs. See README.md.
"""

import hashlib
import shlex

VERSION = "1"
SYNONYMS = {
    "database": "postgresql sqlite",
    "slow": "latency bottleneck",
    "fails": "error failure",
    "lost": "durability",
    "twice": "duplicate",
    "big": "large size limit",
    "crash": "durability kill",
    "option": "setting",
    "port": "address",
}


def rewrite(question: str) -> str:
    """`question` with the synonyms of its words.

    Raises:
        ValueError: quotes in the question do not pair up.
    """
    words = shlex.split(question)
    return " ".join([*words, *(SYNONYMS[word] for word in (w.strip("?,.").lower() for w in words) if word in SYNONYMS)])


def digest() -> str:
    """A hash of the table of synonyms."""
    return f"sha256:{hashlib.sha256(repr(sorted(SYNONYMS.items())).encode()).hexdigest()}"
