"""SA-1B archives: order, division among readers, and what is broken."""

import json
from itertools import islice

import numpy as np
import pytest

from subobject.data.sa1b import index_archive, open_archives
from tests.data import layouts


def take(archives, number, **options):
    return [(position, image.id) for position, image in islice(archives.images(7, **options), number)]


def test_masks_come_back_as_they_were(tmp_path):
    archives = open_archives(layouts.write_sa1b(tmp_path), "train")
    _, image = next(archives.images(0))
    (stack,) = image.layers()
    for index, mask in enumerate(layouts.overlapping_masks()):
        assert np.array_equal(np.any(stack == index, axis=0), mask)


def test_each_round_holds_every_photograph_once_in_another_order(tmp_path):
    archives = open_archives(layouts.write_sa1b(tmp_path, archives=3, images=4), "train")
    names = [name for _, name in take(archives, 36)]
    rounds = [names[i : i + 12] for i in (0, 12, 24)]
    assert all(sorted(one) == sorted(rounds[0]) and len(set(one)) == 12 for one in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    # An archive is read to its end before the next.
    number = [(int(name[3:]) - 1) // 4 for name in rounds[0]]
    assert all(len(set(number[i : i + 4])) == 1 for i in (0, 4, 8))
    assert take(archives, 12) == take(open_archives(tmp_path, "train"), 12)
    assert [name for _, name in islice(((p, i.id) for p, i in archives.images(8)), 12)] != rounds[0]


@pytest.mark.parametrize("members", [1, 2, 3, 5])
@pytest.mark.parametrize("group", [1, 2, 4])
def test_readers_divide_the_sequence(tmp_path, members, group):
    archives = open_archives(layouts.write_sa1b(tmp_path), "train")
    whole = take(archives, 20)
    parts = [take(archives, 8, group=group, member=member, members=members) for member in range(members)]
    for member, part in enumerate(parts):
        assert part == [one for one in take(archives, 60) if one[0] // group % members == member][:8]
    together = sorted(one for part in parts for one in part)
    assert together[:8] == whole[:8]


def test_a_start_leaves_out_what_came_before(tmp_path):
    archives = open_archives(layouts.write_sa1b(tmp_path), "train")
    assert take(archives, 5, start=9) == take(archives, 14)[9:]
    assert (
        take(archives, 3, start=8, group=2, member=1, members=2)
        == [one for one in take(archives, 20)[8:] if one[0] // 2 % 2 == 1][:3]
    )


def test_broken_members_are_reported_and_keep_their_place(tmp_path, caplog):
    good = open_archives(layouts.write_sa1b(tmp_path / "good", archives=1, images=6), "train")
    members = layouts.sa1b_members(range(1, 7))
    members["sa_2.jpg"] = b"no picture"
    members["sa_4.json"] = b"{"
    wrong_size = layouts.sa1b_json("sa_5", layouts.overlapping_masks((9, 9)))
    members["sa_5.json"] = json.dumps(wrong_size).encode()
    layouts.write_tar(tmp_path / "bad" / "sa_000000.tar", members)
    bad = open_archives(tmp_path / "bad", "train")
    expected, found = take(good, 12), take(bad, 12)
    assert [position for position, _ in found] == list(range(12))
    for (_, want), (_, have) in zip(expected, found, strict=True):
        assert have == want or want in ("sa_2", "sa_4", "sa_5")
        assert have not in ("sa_2", "sa_4", "sa_5")
    bad._reported.clear()
    caplog.clear()
    take(bad, 24)
    for message in ("sa_2.jpg cannot be read", "sa_4.json cannot be read", "run lengths are for 9 x 9 pixels"):
        assert caplog.text.count(message) == 1
    divided = [take(bad, 6, member=member, members=2) for member in range(2)]
    assert sorted(divided[0] + divided[1]) == found


def test_a_truncated_archive_gives_what_comes_before_the_damage(tmp_path, caplog):
    path = layouts.write_tar(tmp_path / "sa_000000.tar", layouts.sa1b_members(range(1, 5)))
    whole, damage = index_archive(path)
    assert (len(whole), damage) == (4, None)
    content = path.read_bytes()
    path.write_bytes(content[: whole[2].picture.offset + 100])
    assert [sample.name for sample in index_archive(path)[0]] == ["sa_1", "sa_2"]
    assert {name for _, name in take(open_archives(tmp_path, "train"), 6)} == {"sa_1", "sa_2"}
    assert "is damaged" in caplog.text
    assert "2 of its photographs are used" in caplog.text


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path):
    path = layouts.write_tar(tmp_path / "sa_000000.tar", layouts.sa1b_members(range(1, 5)))
    content = bytearray(path.read_bytes())
    at = index_archive(path)[0][2].picture.offset - 512
    content[at : at + 512] = b"x" * 512
    path.write_bytes(content)
    samples, damage = index_archive(path)
    assert [sample.name for sample in samples] == ["sa_1", "sa_2"]
    assert damage is not None
    assert f"byte {at}" in damage


def test_files_without_partner_are_reported(tmp_path):
    members = layouts.sa1b_members(range(1, 3))
    del members["sa_1.json"]
    samples, damage = index_archive(layouts.write_tar(tmp_path / "sa_000000.tar", members))
    assert [sample.name for sample in samples] == ["sa_2"]
    assert damage == "lacks the partner of 1 files, such as sa_1"


def test_archives_without_a_readable_photograph_end_with_a_sentence(tmp_path, caplog):
    (tmp_path / "sa_000000.tar").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="no photograph can be read in"):
        next(open_archives(tmp_path, "train").images(0))
    layouts.write_tar(tmp_path / "sa_000000.tar", {"sa_1.jpg": b"", "sa_1.json": b""})
    with pytest.raises(ValueError, match="no photograph can be read in"):
        next(open_archives(tmp_path, "train").images(0))
    assert "sa_1.jpg cannot be read" in caplog.text
