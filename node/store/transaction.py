"""One transaction of a SQLite database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Everything inside is done, or nothing. The caller keeps other threads out. Raises what is raised inside."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:  # undone and passed on, whatever it was, a COMMIT that failed included
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
