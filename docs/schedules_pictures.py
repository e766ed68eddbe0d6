"""Draws the pictures of schedules.md from what the engine computes: `python docs/schedules_pictures.py`.

Fires on time and late ones are asked of `next_fires` and `firing`; overlap is worked out here by the rules.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from dhanam_jobs.engine import next_fires
from dhanam_jobs.engine.cron import Cron
from dhanam_jobs.engine.misfire import Misfire, firing

FOLDER = Path(__file__).parent / "pictures"
LEFT, WIDTH, ROW = 150, 760, 44
STYLE = (
    "text{font:13px sans-serif;fill:#333}.small{font-size:11px;fill:#666}.line{stroke:#999}.gap{fill:#f3d9a4}"
    ".again{fill:#cfe0f3}.down{fill:#eee}.fire{fill:#1f7a4d}.made{fill:#b8860b}.lost{fill:none;stroke:#b33;"
    "stroke-width:1.5}.run{fill:#9cc5ac;stroke:#1f7a4d}.wait{fill:#fff;stroke:#1f7a4d;stroke-dasharray:3 2}"
    ".back{fill:#fff}"
)
Kind = Literal["fire", "made", "lost"]


class Picture:
    """An SVG of rows over one stretch of time."""

    def __init__(self, title: str, rows: int, start: datetime, end: datetime) -> None:
        self.height = 70 + rows * ROW
        self._start, self._end = start, end
        self._parts = [f'<rect class="back" width="{LEFT + WIDTH + 40}" height="{self.height}"/>']
        self._parts.append(f'<text x="10" y="22">{title}</text>')

    def x(self, moment: datetime) -> float:
        """Where an instant is drawn."""
        return LEFT + WIDTH * ((moment - self._start) / (self._end - self._start))

    def y(self, row: int) -> int:
        """The line of a row."""
        return 74 + row * ROW

    def band(self, kind: str, start: datetime, end: datetime, text: str) -> None:
        """A stretch of time behind all rows."""
        x, width = self.x(start), self.x(end) - self.x(start)
        self._parts.append(f'<rect class="{kind}" x="{x:.0f}" y="34" width="{width:.0f}" height="{self.height - 44}"/>')
        self._parts.append(f'<text class="small" x="{x + 4:.0f}" y="46">{text}</text>')

    def row(self, row: int, name: str) -> None:
        """A row's name and line."""
        self._parts.append(f'<text x="10" y="{self.y(row) + 4}">{name}</text>')
        self._parts.append(f'<path class="line" d="M{LEFT} {self.y(row)}h{WIDTH}"/>')

    def dot(self, row: int, moment: datetime, kind: Kind, text: str = "") -> None:
        """One tick."""
        x, y = self.x(moment), self.y(row)
        if kind == "lost":
            self._parts.append(f'<path class="lost" d="M{x - 5:.0f} {y - 5}l10 10m0-10l-10 10"/>')
        else:
            self._parts.append(f'<circle class="{kind}" cx="{x:.0f}" cy="{y}" r="5"/>')
        if text:
            self._parts.append(f'<text class="small" text-anchor="middle" x="{x:.0f}" y="{y + 18}">{text}</text>')

    def bar(self, row: int, start: datetime, end: datetime, kind: Literal["run", "wait"]) -> None:
        """A run, or its waiting."""
        x, width = self.x(start), self.x(end) - self.x(start)
        self._parts.append(
            f'<rect class="{kind}" x="{x:.0f}" y="{self.y(row) - 9}" width="{width:.0f}" height="18" rx="3"/>'
        )

    def save(self, name: str) -> None:
        """Writes the file."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 40} {self.height}">'
        text = "\n".join([head, f"<style>{STYLE}</style>", *self._parts, "</svg>", ""])
        (FOLDER / name).write_text(text, "utf-8")


def clocks(
    name: str, title: str, tz: str, start: datetime, hours: int, band: tuple[str, datetime, datetime, str]
) -> None:
    """A night with a change of clocks: which patterns fire when, labelled with the wall clock."""
    crons = ["30 2 * * *", "0 3 * * *", "*/30 * * * *", "0 * * * *"]
    picture = Picture(title, len(crons), start, start + timedelta(hours=hours))
    picture.band(*band)
    for row, cron in enumerate(crons):
        picture.row(row, cron)
        for fire in next_fires(cron, tz, start - timedelta(seconds=1), 20):
            if fire <= start + timedelta(hours=hours):
                picture.dot(row, fire, "fire", f"{fire.astimezone(ZoneInfo(tz)):%H:%M}")
    picture.save(name)


def misfires() -> None:
    """Down-time from 10:20 to 14:10 for an hourly schedule, by policy."""
    start = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    down, up, end = (start.replace(hour=hour, minute=minute) for hour, minute in ((10, 20), (14, 10), (16, 30)))
    picture = Picture("0 * * * *, nobody ran from 10:20 to 14:10", 3, start, end)
    picture.band("down", down, up, "nobody runs")
    cron = Cron.parse("0 * * * *")
    policies: tuple[Misfire, ...] = ("skip", "once", "all")
    for row, misfire in enumerate(policies):
        picture.row(row, f'misfire="{misfire}"')
        next_ms = round(start.replace(hour=10, minute=0).timestamp() * 1000)
        made_up: list[datetime] = []
        for now in (start.replace(hour=10, minute=0), up, *(start.replace(hour=hour, minute=0) for hour in (15, 16))):
            found = firing(cron, next_ms, round(now.timestamp() * 1000), misfire=misfire)
            for instant in found.instants_ms:
                moment = datetime.fromtimestamp(instant / 1000, UTC)
                if now == up:
                    made_up.append(moment)
                else:
                    picture.dot(row, moment, "fire", f"{moment:%H:%M}")
            assert found.following_ms is not None
            next_ms = found.following_ms
        for hour in (11, 12, 13, 14):
            picture.dot(row, start.replace(hour=hour, minute=0), "lost")
        for number, moment in enumerate(made_up):
            picture.dot(row, up + number * timedelta(minutes=11), "made", f"{moment:%H}h")
    picture.save("misfire.svg")


def overlaps() -> None:
    """Ticks every ten minutes, and a run that takes longer, by overlap policy."""
    start = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

    def at(minute: float) -> datetime:
        return start + timedelta(minutes=minute)

    ticks, length = (0, 10, 20, 30, 40, 50), 23
    picture = Picture(f"a tick every 10 minutes, a run takes {length}", 6, at(-3), at(62))
    for row, policy in ((0, "allow"), (3, "skip"), (4, "queue_one")):
        picture.row(row, f'overlap="{policy}"')
    for minute in ticks:
        picture.bar(minute // 10 % 3, at(minute), at(min(minute + length, 62)), "run")
        picture.dot(minute // 10 % 3, at(minute), "fire")
    free = 0
    for minute in ticks:
        if minute >= free:
            picture.bar(3, at(minute), at(min(minute + length, 62)), "run")
            free = minute + length
        picture.dot(3, at(minute), "fire" if free == minute + length else "lost")
    running_until = waiting_until = 0
    kinds: list[tuple[int, Kind]] = []
    for minute in ticks:
        if minute < waiting_until:
            kinds.append((minute, "lost"))
            continue
        start_at = max(minute, running_until)
        if start_at > minute:
            waiting_until = start_at
            picture.bar(5, at(minute), at(min(start_at, 62)), "wait")
        running_until = start_at + length
        if start_at < 62:
            picture.bar(4, at(start_at), at(min(running_until, 62)), "run")
        kinds.append((minute, "fire"))
    for minute, kind in kinds:
        picture.dot(4, at(minute), kind)
    picture.row(5, "waits its turn")
    picture.save("overlap.svg")


def main() -> None:
    """All pictures."""
    FOLDER.mkdir(exist_ok=True)
    spring = datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
    gap = spring.replace(hour=1)
    clocks(
        "spring.svg",
        "Europe/Madrid, 29 March 2026: at 02:00 the clock jumps to 03:00",
        "Europe/Madrid",
        spring,
        4,
        ("gap", gap, gap + timedelta(minutes=2), "02:00 to 03:00 don't exist"),
    )
    autumn = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)
    first = autumn.replace(day=25, hour=0)
    clocks(
        "autumn.svg",
        "Europe/Madrid, 25 October 2026: at 03:00 the clock goes back to 02:00",
        "Europe/Madrid",
        autumn,
        5,
        ("again", first, first + timedelta(hours=2), "02:00 to 03:00, twice"),
    )
    misfires()
    overlaps()


if __name__ == "__main__":
    main()
