"""WallClock places the matches of a cron calendar on the time line, by the rules of a time zone.

It computes only: what an expression means, and that hours named and hours elapsed differ, is said in `cron`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from croniter import croniter

__all__ = ["WallClock"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class WallClock:
    """A calendar in a zone.

    ``every_hour`` says that the calendar admits all 24 hours and so means elapsed time; without it the times
    are the wall clock's, each of which fires once.
    """

    # Asked for wall-clock times without a zone only: given a zone, croniter fires a fixed time twice where an
    # hour is repeated, loses fires where half an hour is (Lord Howe), and with seconds misses a gap's end. It
    # holds the start while it searches, so a WallClock is for one thread at a time.
    calendar: croniter
    zone: tzinfo
    every_hour: bool

    def next_after(self, after: datetime) -> datetime:
        """The first fire strictly after an aware instant, in UTC."""
        local = after.astimezone(self.zone)
        return self._next_elapsed(local) if self.every_hour else self._next_named(local)

    def _next_named(self, local: datetime) -> datetime:
        wall = local.replace(tzinfo=None)
        if local.fold:
            # All that the clock shows again was due in the first pass.
            wall = self._repeat(local)[1] - _SECOND
        match = self._match_after(wall)
        return self._gap_end(match) or self._instant(match)

    def _next_elapsed(self, local: datetime) -> datetime:
        wall = local.replace(tzinfo=None)
        if self._offset(wall, 0) != self._offset(wall, 1):
            start, end = self._repeat(local)
            if not local.fold:
                match = self._match_after(wall)
                if match < end:
                    return self._instant(match)
                wall = start - _SECOND
            match = self._match_after(wall)
            if match < end:
                return self._instant(match, fold=1)
            wall = end - _SECOND
        match = self._match_after(wall)
        while gap_end := self._gap_end(match):
            match = self._match_after(gap_end.astimezone(self.zone).replace(tzinfo=None) - _SECOND)
        return self._instant(match)

    def _match_after(self, wall: datetime) -> datetime:
        match: datetime = self.calendar.get_next(datetime, start_time=wall.replace(fold=0))
        return match

    def _instant(self, wall: datetime, fold: int = 0) -> datetime:
        return wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)

    def _offset(self, wall: datetime, fold: int) -> timedelta:
        offset = wall.replace(tzinfo=self.zone, fold=fold).utcoffset()
        assert offset is not None
        return offset

    def _gap_end(self, wall: datetime) -> datetime | None:
        """The instant at which the clock jumped over this time, or None if it shows the time."""
        if self._offset(wall, 0) >= self._offset(wall, 1):
            return None
        # In a gap, PEP 495 gives the offset before the jump to fold 0, which lands after it, and vice versa.
        return self._shift_between(self._instant(wall, fold=1), self._instant(wall, fold=0))

    def _repeat(self, local: datetime) -> tuple[datetime, datetime]:
        """Start and end on the wall clock of the stretch shown twice to which this time belongs."""
        wall = local.replace(tzinfo=None)
        shift = self._shift_between(self._instant(wall, fold=0), self._instant(wall, fold=1))
        start = shift.astimezone(self.zone).replace(tzinfo=None)
        return start, start + self._offset(wall, 0) - self._offset(wall, 1)

    def _shift_between(self, before: datetime, after: datetime) -> datetime:
        """The second after ``before``, and not past ``after``, at which the zone's offset changes."""
        offset = before.astimezone(self.zone).utcoffset()
        low, high = (before - _EPOCH) // _SECOND, -((_EPOCH - after) // _SECOND)
        while high - low > 1:
            middle = (low + high) // 2
            if (_EPOCH + middle * _SECOND).astimezone(self.zone).utcoffset() == offset:
                low = middle
            else:
                high = middle
        return _EPOCH + high * _SECOND
