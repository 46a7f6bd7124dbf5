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

`make faults` starts the real processes on real databases, causes each fault while requests are reported, and counts the
messages that reached a stand-in for Discord. It fails if an event is lost, if the bot sends a message twice, or if
messages of another user are late. To repeat one row:
`.venv/bin/python -m tools.faults --only "no network" --database sqlite`.

{table(rows)}

A fault of one user's webhooks, or of one clock, delays no other user. The slowest message of another user, from report
to arrival:

{waits(rows)}

- **accepted**: records answered `201` at a level with a webhook. **delivered**: events in the messages that arrived,
  each message counted once. More can be delivered than accepted, because a record is also delivered if the fault cut
  off its `201`.
- **lost**: records answered `201` that are not in the database, and events that are neither delivered nor visible as
  pending or discarded.
- **sent twice**: messages that appear again. A bot's messages carry a nonce, by which Discord recognises a repeat.
  Webhook URLs have none: there a message appears twice if Discord took it and its answer was lost.
- **seconds**: from the first report to the last message. The messages that a killed dispatcher had claimed wait for the
  end of its lease (30 s); after a minute without Discord, the next try follows within another minute.
"""
