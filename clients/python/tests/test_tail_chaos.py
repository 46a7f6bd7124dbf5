"""A log that is rotated in every way at random moments, while the command is killed and the service fails."""

import gzip
import os
import random
import shutil

import pytest
from collector import cut, lose_answer, slow, status
from test_tail import kill, numbers, tail, wait_until, writer  # noqa: F401


class Rotation:
    def __init__(self, writer, random_):
        self.writer = writer
        self.folder = writer.path.parent
        self.random = random_

    def numbered(self, number, suffix=""):
        return self.folder / f"access.log.{number}{suffix}"

    def shift(self):
        for number in range(150, 0, -1):
            for suffix in ("", ".gz"):
                if self.numbered(number, suffix).exists():
                    self.numbered(number, suffix).rename(self.numbered(number + 1, suffix))

    def rename(self):
        self.shift()
        self.writer.path.rename(self.numbered(1))
        self.writer.write(self.random.randint(0, 30))
        self.writer.file.close()
        self.writer.open()

    def copy(self):
        self.shift()
        shutil.copy(self.writer.path, self.numbered(1))
        os.truncate(self.writer.path, 0)

    def compress(self):
        """As gzip does: with the time of the original, which goes last."""
        plain = self.numbered(self.random.choice([2, 3, 4]))
        if plain.exists():
            draft = self.folder / "draft"
            with gzip.open(draft, "wb") as packed:
                packed.write(plain.read_bytes())
            shutil.copystat(plain, draft)
            draft.rename(f"{plain}.gz")
            plain.unlink()


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_each_line_arrives_once(collector, tail, writer, tmp_path, seed):
    random_ = random.Random(seed)
    rotation = Rotation(writer, random_)
    process = tail("--from", "start")
    wait_until((tmp_path / "state" / "tail.json").exists)
    for _ in range(30):
        writer.write(random_.randint(0, 400))
        seen = len(collector.requests)
        what = random_.choice(["rename", "copy", "compress", "kill", "killed and rotated", "fault", "wait"])
        if what in ("rename", "copy", "compress"):
            getattr(rotation, what)()
        elif what == "fault":
            collector.faults = [random_.choice([status(503), cut, lose_answer])]
        elif what == "wait":
            wait_until(lambda seen=seen: len(collector.requests) > seen or len(collector.records) == writer.count)
        else:
            kill(process)
            if what != "kill":
                writer.write(50)
                random_.choice([rotation.rename, rotation.copy])()
                writer.write(20)
            process = tail("--from", "start")
    collector.faults = []
    assert numbers(collector.wait_for(writer.count, 40)) == list(range(writer.count))


def test_a_log_that_is_cut_off_while_an_older_one_is_read_loses_nothing(collector, tail, writer, tmp_path):
    rotation = Rotation(writer, random.Random(0))
    collector.fault = slow(0.3)
    writer.write(5500)
    tail("--from", "start")
    collector.wait_for(1000)
    rotation.rename()
    writer.write(10)
    for count in (3000, 4000):
        collector.wait_for(count)
        rotation.copy()
        writer.write(10)
    collector.fault = None
    assert numbers(collector.wait_for(writer.count)) == list(range(writer.count))
