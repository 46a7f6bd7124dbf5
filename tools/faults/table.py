"""Renders the rows as Markdown tables and as docs/faults.md."""

from collections.abc import Sequence

from tools.faults.scenario import Row

HEADER = """\
| database | fault | accepted | delivered | lost | sent twice | messages | seconds |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
WAITS_HEADER = """\
| database | fault | slowest message, seconds |
| --- | --- | ---: |"""


def line(row: Row) -> str:
    numbers = (row.accepted, row.delivered, row.lost, row.sent_twice, row.messages, round(row.seconds))
    return f"| {row.database} | {row.name} | {' | '.join(f'{number:,}' for number in numbers)} |"


def table(rows: Sequence[Row]) -> str:
    return "\n".join([HEADER, *map(line, rows)])


def waits(rows: Sequence[Row]) -> str:
    """A table of the longest times from report to message, for rows that measured it."""
    timed = [f"| {row.database} | {row.name} | {row.longest:.2f} |" for row in rows if row.longest]
    return "\n".join([WAITS_HEADER, *timed])


def document(rows: Sequence[Row]) -> str:
    return f"""\
# What survives which fault

`make faults` starts the real processes over real databases, has each fault strike while requests are reported, and
counts what a stand-in for Discord shows in the end. Where something is lost, where the bot sends something twice, or
where somebody else's messages are held up, it fails. One row again:
`.venv/bin/python -m tools.faults --only "no network" --database sqlite`.

{table(rows)}

What strikes one user, or one clock, holds up nobody else. From a report to its message, at worst:

{waits(rows)}

- **accepted**: records answered `201` at a level with a webhook. **delivered**: the events that the messages tell of,
  each message counted once. It can be more than was accepted: a record whose `201` the fault cut off is delivered, too.
- **lost**: records answered `201` that are not in the database, and events that are neither delivered nor visible as
  pending or discarded.
- **sent twice**: messages that people see again. Messages of the bot carry a nonce, by which Discord recognises a
  repeat; webhook URLs have no nonce, so there a message that Discord took without our learning of it appears twice.
- **seconds**: from the first report to the last message. What a killed dispatcher held waits for the end of its lease
  (30 s); after a minute without Discord the next try comes within another.
"""
