"""Whose file it is, by what platforms make of its name; which one counts; what is left out."""

import io
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from course import FIRST, STEMS, read

from tools import collect, exercises
from tools.collect import File, LeftOut

STEM = "train_it"
THEN = datetime(2026, 11, 27, 10, tzinfo=UTC)
MOODLE = "Grace Hopper_48213_assignsubmission_file_"


def whose(path: str) -> str:
    return collect.handed_in(File(path, b"", THEN), STEM).student


@pytest.mark.parametrize(
    ("path", "student"),
    [
        ("ada_train_it.ipynb", "ada"),
        ("Ada_train_it.ipynb", "ada"),
        ("jo_an_train_it.ipynb", "jo_an"),
        ("Ünal Öz züm_train_it.ipynb", "ünal-öz-züm"),
        ("böm_train_it.ipynb", "böm"),
        ("kim_train_it (1).ipynb", "kim"),
        ("kim_train_it-Copy2.ipynb", "kim"),
        ("kim_train_it - Kopie.ipynb", "kim"),
        ("group 1/ada_train_it.ipynb", "ada"),
        (f"{MOODLE}train_it.ipynb", "grace-hopper"),
        (f"{MOODLE}grace_train_it.ipynb", "grace-hopper"),
        (f"{MOODLE}/train_it.ipynb", "grace-hopper"),
        ("Grace Hopper_48213_assignsubmission_file/train_it.ipynb", "grace-hopper"),
        (f"DPO-Train it-99/{MOODLE}/my answer.ipynb", "grace-hopper"),
        ("O'Brien Zoë_7_assignsubmission_file_train_it.ipynb", "o-brien-zoë"),
        ("lovelaceada_48213_99_train_it.ipynb", "lovelaceada-48213"),
        ("lovelaceada_LATE_48213_99_train_it.ipynb", "lovelaceada-48213"),
        ("lovelaceada_48213_99_train_it-2.ipynb", "lovelaceada-48213"),
        ("Train it_ada_attempt_2026-11-27-10-00-00_train_it.ipynb", "ada"),
        # What a student calls a file, or packs into a zip, makes nobody else of him.
        (f"{MOODLE}Bob_1_assignsubmission_file_train_it.ipynb", "grace-hopper"),
        (f"{MOODLE}bob_1_2_train_it.ipynb", "grace-hopper"),
        ("lovelaceada_48213_99_hand/bob_1_2_train_it.ipynb", "lovelaceada-48213"),
        ("lovelaceada_48213_99_Bob_1_assignsubmission_file_train_it.ipynb", "lovelaceada-48213"),
        ("T_ada_attempt_2026-11-27-10-00-00_x_bob_attempt_2027-01-01-10-00-00_.ipynb", "ada"),
    ],
)
def test_a_file_is_the_students_whom_the_platform_names(path: str, student: str) -> None:
    assert whose(path) == student


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("train_it.ipynb", "nobody's name"),
        ("ada_break_it.ipynb", "nobody's name"),
        ("_train_it.ipynb", "nobody's name"),
        (f"{MOODLE}onlinetext.html", "no notebook"),
        ("ada_train_it.ipynb.txt", "no notebook"),
    ],
)
def test_a_file_that_does_not_say_whose_it_is_is_left_out(path: str, why: str) -> None:
    with pytest.raises(LeftOut, match=why):
        whose(path)


def test_folders_have_names_that_every_system_takes() -> None:
    assert collect.as_id("Jo_An [2]*/..") == "jo_an-2"
    assert collect.as_id("李 明") == "李-明"


# --- which one counts ---------------------------------------------------------------------------

STEM_1 = STEMS[FIRST]


def notebook(mark: str = "") -> bytes:
    """The first assignment's notebook; the mark tells one from another."""
    book = read("student", FIRST)
    book.cells[0].source += mark
    return nbformat.writes(book).encode()


def sorted_out(*given: tuple[str, bytes]) -> tuple[dict[str, bytes], dict[str, str]]:
    """What counts of each student, and why other files do not."""
    found = collect.sort([File(p, c, THEN) for p, c in given], STEM_1, read("source", FIRST))
    return {s: one.file.content for s, one in found.counts.items()}, dict(found.left_out)


def test_of_several_files_the_last_counts() -> None:
    old, new = notebook("old"), notebook("new")
    names = [f"ada_{STEM_1}.ipynb", f"ada_{STEM_1} (1).ipynb"]
    assert sorted_out((names[1], new), (names[0], old)) == (
        {"ada": new},
        {names[0]: "an earlier one of ada"},
    )
    names = [f"A_u1_attempt_2026-11-2{n}-10-00-00_{STEM_1}.ipynb" for n in (7, 8)]
    assert sorted_out(*zip(names, (old, new), strict=True))[0] == {"u1": new}


def test_where_it_is_open_which_one_counts_none_does_and_others_do() -> None:
    one, two = (f"{MOODLE}/a/{STEM_1}.ipynb", f"{MOODLE}/b/{STEM_1}.ipynb")
    bob = (f"bob_{STEM_1}.ipynb", notebook())
    counts, left_out = sorted_out((one, notebook("1")), (two, notebook("2")), bob)
    assert counts == {"bob": bob[1]}
    assert set(left_out.values()) == {"one of two of grace-hopper: which one counts?"}
    counts, left_out = sorted_out((one, notebook("1")), (two, notebook("1")))
    assert list(counts) == ["grace-hopper"] and list(left_out) == [two]


def test_two_of_one_name_are_not_taken_for_one() -> None:
    other = MOODLE.replace("48213", "48214")
    given = [(f"{m}{STEM_1}.ipynb", notebook(m)) for m in (MOODLE, other)]
    counts, left_out = sorted_out(*given)
    assert counts == {} and len(left_out) == 2
    assert "two whom the platform calls grace-hopper" in next(iter(left_out.values()))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{}", "no notebook that can be read"),
        (b"\xff\xfe", "no notebook that can be read"),
        (b"", "no notebook that can be read"),
        (nbformat.writes(read("student", "5_train_it")).encode(), "not of this assignment"),
    ],
)
def test_what_is_not_the_assignment_is_left_out(content: bytes, why: str) -> None:
    name = f"ada_{STEM_1}.ipynb"
    counts, left_out = sorted_out((name, content))
    assert counts == {} and why in left_out[name]


# --- files, folders, zips -----------------------------------------------------------------------


def zipped(*files: tuple[str, bytes]) -> bytes:
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 27, 10, 0, 0)), content)
    return inside.getvalue()


def test_zips_are_opened_and_what_macos_adds_is_not_a_file(tmp_path: Path) -> None:
    inner = zipped(("train_it.ipynb", b"1"), ("__MACOSX/._train_it.ipynb", b"2"))
    composed = "U\u0308nal_1_assignsubmission_file_train_it.ipynb"  # as macOS writes an umlaut
    outer = zipped((f"{MOODLE}hand-in.zip", inner), (composed, b"3"), ("folder/", b""))
    (tmp_path / "Moodle.zip").write_bytes(outer)
    (tmp_path / "torn.zip").write_bytes(b"no zip")
    found = {file.path: file for file in collect.files(tmp_path)}
    assert list(found) == [
        f"Moodle/{MOODLE}hand-in/train_it.ipynb",
        "Moodle/Ünal_1_assignsubmission_file_train_it.ipynb",
        "torn.zip",
    ]
    assert found[f"Moodle/{MOODLE}hand-in/train_it.ipynb"].content == b"1"
    assert {whose(path) for path in list(found)[:2]} == {"grace-hopper", "ünal"}
    local = datetime(2026, 11, 27, 10).astimezone(UTC)
    assert found["Moodle/Ünal_1_assignsubmission_file_train_it.ipynb"].when == local


def test_a_zip_in_a_zip_in_a_zip_stays_closed_and_what_is_too_large_out(monkeypatch) -> None:
    deep = zipped(("b.zip", zipped(("c.zip", zipped(("d.ipynb", b"1"))))))
    (found,) = collect.unzipped(File("a.zip", deep, THEN))
    assert found.path == "a/b/c.zip"
    monkeypatch.setattr(collect, "MOST_BYTES", 3)
    assert list(collect.unzipped(File("a.zip", zipped(("b.ipynb", b"1234")), THEN))) == []


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path: Path) -> Path:
    root = tmp_path / "course"
    exercises.copy_course(root)
    return root


def said(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert collect.main([*map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_second_hand_in_takes_the_place_of_the_first(course: Path, tmp_path, capsys) -> None:
    path = tmp_path / f"Ünal_{STEM_1}.ipynb"
    path.write_bytes(notebook())
    os.utime(path, (THEN.timestamp(),) * 2)
    command = (FIRST, path, "--course", course)
    folder = course / "submitted" / "ünal" / FIRST
    assert said(capsys, *command) == [
        f"ünal: Ünal_{STEM_1}.ipynb, new",
        "1 hand-in, 0 files left out",
    ]
    assert (folder / "timestamp.txt").read_text() == "2026-11-27 10:00:00 UTC"
    assert said(capsys, *command)[0].endswith(", as before")
    path.write_bytes(notebook("!"))
    assert said(capsys, *command)[0].endswith(", in place of an earlier one")
    assert (folder / f"{STEM_1}.ipynb").read_bytes() == notebook("!")


def test_what_is_late_or_of_another_variant_is_said(course: Path, tmp_path, capsys) -> None:
    late = tmp_path / f"lovelaceada_LATE_1_2_{STEM_1}.ipynb"
    late.write_bytes(notebook().replace(b".check(", b".check(variant=17, answer="))
    (line, _) = said(capsys, FIRST, late, "--course", course)
    assert line.endswith("new, late, as Canvas says, written for variant 17 and not 0")


def test_the_time_that_blackboard_tells_is_the_hand_ins(course: Path, tmp_path, capsys) -> None:
    path = tmp_path / f"A_u1_attempt_2026-11-20-23-59-59_{STEM_1}.ipynb"
    path.write_bytes(notebook())
    said(capsys, FIRST, path, "--course", course)
    kept = (course / "submitted" / "u1" / FIRST / "timestamp.txt").read_text()
    local = datetime(2026, 11, 20, 23, 59, 59).astimezone(UTC)
    assert kept == local.strftime("%Y-%m-%d %H:%M:%S UTC")


def test_a_line_says_what_is_left_out(course: Path, tmp_path, capsys) -> None:
    (tmp_path / "notes.txt").write_text("")
    assert said(capsys, FIRST, tmp_path / "notes.txt", "--course", course) == [
        "left out: notes.txt: no notebook",
        "0 hand-ins, 1 file left out",
    ]


def test_what_is_not_there_is_named(course: Path, tmp_path: Path) -> None:
    assert "is no assignment of" in collect.main(["9_x", "a.zip", "--course", str(course)])
    absent = tmp_path / "a.zip"
    assert collect.main([FIRST, str(absent)]) == f"There is no {absent}."
