"""A PostgreSQL database that may go away for a while: what was under way is done again when it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy

from hill_sim.errors import HillError, InvalidInput, Unavailable

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST = 10.0
"""Seconds that a database is given to answer for the first time."""
PATIENCE = 300.0
"""Seconds that one which has answered may be away."""
_SLOWEST = 5.0  # seconds between two attempts at the most


@dataclass(frozen=True)
class Address:
    """Where a database is, from a URL as psycopg, SQLAlchemy and Optuna take it."""

    url: sqlalchemy.URL

    @classmethod
    def parse(cls, given: str) -> Address:
        """Raises InvalidInput for anything but postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?option=value]."""
        wanted = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        try:
            url = sqlalchemy.make_url(given)
        except (sqlalchemy.exc.ArgumentError, ValueError):
            raise InvalidInput(f"storage: not a URL like {wanted}") from None  # it may hold a password
        if url.drivername not in ("postgresql", "postgresql+psycopg", "postgres"):
            raise InvalidInput(f"storage: {url.drivername}:// is not postgresql://; write {wanted}")
        if not url.database:
            raise InvalidInput(f"storage: {url.render_as_string()} names no database; write {wanted}")
        return cls(url.set(drivername="postgresql"))

    def __str__(self) -> str:
        """With asterisks for the password."""
        return self.url.render_as_string()

    @property
    def psycopg(self) -> str:
        return self.url.render_as_string(hide_password=False)

    @property
    def optuna(self) -> str:
        return self.url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


class Database:
    """Transactions on one connection, made again whenever it breaks. For one thread.

    Args:
        announce: log that the database does not answer.

    Raises:
        Unavailable: psycopg is not installed.
    """

    def __init__(self, address: Address, *, announce: bool = True) -> None:
        try:
            import psycopg
        except ImportError:
            raise Unavailable("storage: psycopg is not installed; pip install 'hill-sim[postgresql]'") from None
        logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # it warns of errors that it ignores
        self.address, self._psycopg, self._announce = address, psycopg, announce
        self.stopping: Callable[[], bool] = lambda: False  # then it is waited for no longer than at first
        self._connection: psycopg.Connection[Any] | None = None
        self._answered = False

    def run(self, work: Callable[[psycopg.Cursor[Any]], T], patience: float | None = None) -> T:
        """Do `work` in one transaction, and again while the database cannot be had; so it must bear being repeated.

        Args:
            patience: in seconds, if it is not to be the usual one.

        Raises:
            Unavailable: the database has been away for too long.
            HillError: it refuses.
        """

        def once() -> T:
            with self._connected().transaction(), self._connected().cursor() as cursor:
                return work(cursor)

        return self.patiently(once, patience)

    def patiently(self, work: Callable[[], T], patience: float | None = None) -> T:
        """Call `work` until the database has let it end; raises as `run` does."""
        import optuna

        gone = (
            self._psycopg.OperationalError,
            self._psycopg.InterfaceError,
            sqlalchemy.exc.OperationalError,
            sqlalchemy.exc.InterfaceError,
            optuna.exceptions.StorageInternalError,
        )
        began, delay, announced = time.monotonic(), 0.1, False
        while True:
            try:
                result = work()
            except gone as error:
                self.close()
                usual = PATIENCE if self._answered and not self.stopping() else FIRST
                if time.monotonic() - began > (usual if patience is None else patience):
                    raise Unavailable(f"storage: {self.address} does not answer: {_reason(error)}") from None
                if self._announce and delay > 0.4 and not announced:
                    announced = True
                    log.warning("storage: %s does not answer (%s); trying again", self.address, _reason(error))
                time.sleep(delay)
                delay = min(2 * delay, _SLOWEST)
            except (self._psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
                raise HillError(f"storage: {self.address} refuses: {_reason(error)}") from None
            else:
                self._answered = True
                if announced:
                    log.warning("storage: %s answers again after %.0f s", self.address, time.monotonic() - began)
                return result

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Within it, no other process is within a lock of this name. For use inside `patiently`."""
        connection = self._connected()
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
            yield

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self._psycopg.connect(
                self.address.psycopg,
                autocommit=True,
                connect_timeout=10,
                keepalives_idle=30,
                application_name="hill-sim",
            )
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _reason(error: BaseException) -> str:
    """The first line of what the server said."""
    cause = error.__cause__ or error
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines() or [type(error).__name__]
    return lines[0].strip()
