"""Paired transforms and scenes: picture and mask stay together, samples can be repeated, sizes and values hold."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from test_folder import write_set

from edgeseg.data.geometric import Geometric, random_field, random_matrix, warp
from edgeseg.data.pasting import tilted
from edgeseg.data.photometric import Photometric, change
from edgeseg.data.pool import Pool, SetConfig
from edgeseg.data.scenes import SceneMaker, Scenes
from edgeseg.errors import InputError


def disc(size: tuple[int, int] = (180, 240)) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, (size[1] // 2, size[0] // 2), (60, 40), 20, 0, 360, 1, -1)
    return np.repeat((mask * 255)[..., None], 3, axis=2), mask


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("target", [(256, 256), (65, 97), (160, 256)])
def test_the_mask_moves_with_the_picture(seed: int, target: tuple[int, int]) -> None:
    image, mask = disc()
    matrix = random_matrix(np.random.default_rng(seed), mask.shape, target, Geometric(plain=0.0))
    moved, area = warp(image, mask, matrix, target)
    assert moved.shape == (*target, 3)
    drawn = moved[..., 0] > 127
    either = np.count_nonzero(drawn | (area == 1))
    assert either == 0 or np.count_nonzero(drawn & (area == 1)) / either > 0.93


@pytest.mark.parametrize("seed", range(6))
def test_the_mask_bends_with_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, mask = disc()
    ranges = Geometric(plain=0.0, zoom=(0.9, 1.1), elastic=1.0)
    matrix = random_matrix(rng, mask.shape, (160, 200), ranges)
    field = random_field(rng, (160, 200), ranges)
    assert field is not None and field.shape == (160, 200, 2)
    straight, _ = warp(image, mask, matrix, (160, 200))
    moved, area = warp(image, mask, matrix, (160, 200), field)
    assert not np.array_equal(moved, straight)
    drawn = moved[..., 0] > 127
    assert np.count_nonzero(drawn & (area == 1)) / np.count_nonzero(drawn | (area == 1)) > 0.93


def test_a_field_moves_by_pixels_of_the_target() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 3)
    mask = np.random.default_rng(1).choice(np.array([0, 3, 255], np.uint8), (60, 80))
    field = np.zeros((120, 160, 2), np.float32)
    matrix = np.diag([2.0, 2.0, 1.0])
    still, labels = warp(image, mask, matrix, (120, 160), field)
    wanted, straight = warp(image, mask, matrix, (120, 160))
    assert np.abs(still.astype(int) - wanted).max() <= 4
    assert (labels == straight).mean() > 0.95
    field[..., 0] = 6.0
    moved, _ = warp(image, mask, matrix, (120, 160), field)
    assert np.abs(moved[:, :150].astype(int) - wanted[:, 6:156]).max() <= 4


def test_displacements_have_their_deviation_and_their_odds() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_field(rng, (30, 30), Geometric(elastic=0.5, elastic_px=4.0)) for _ in range(400)]
    fields = [field for field in drawn if field is not None]
    assert 150 < len(fields) < 250
    # The middle of the grid is one of the points that were drawn.
    middle = np.array([field[15, 15] for field in fields])
    assert middle.std() == pytest.approx(4.0, rel=0.1)


def test_a_plain_sample_is_what_resize_gives() -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    matrix = random_matrix(np.random.default_rng(1), (120, 90), (100, 80), Geometric(plain=1.0, flip=0.0))
    moved, _ = warp(image, np.zeros((120, 90), np.uint8), matrix, (100, 80))
    expected = cv2.resize(image, (80, 100), interpolation=cv2.INTER_LINEAR)
    assert np.abs(moved.astype(int) - expected).max() <= 3


def test_labels_of_many_classes_stay_labels() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 3, 9, 255], np.uint8), (60, 80))
    matrix = random_matrix(np.random.default_rng(2), mask.shape, (50, 50), Geometric(plain=0.0))
    _, moved = warp(np.zeros((60, 80, 3), np.uint8), mask, matrix, (50, 50))
    assert set(np.unique(moved)) <= {0, 3, 9, 255}


ONE_EACH = [{name: 1.0} for name in ("light", "dark", "colour", "gray", "blur", "coarse", "noise", "jpeg")]
NOTHING = {"light": 0.0, "dark": 0.0, "colour": 0.0, "gray": 0.0, "blur": 0.0, "coarse": 0.0, "noise": 0.0, "jpeg": 0.0}


@pytest.mark.parametrize("one", ONE_EACH, ids=lambda one: next(iter(one)))
def test_each_photometric_change_changes_and_repeats(one: dict[str, float]) -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    kept = image.copy()
    first = change(image, np.random.default_rng(7), Photometric(**(NOTHING | one)))
    assert first.dtype == np.uint8
    assert first.shape == image.shape
    assert not np.array_equal(first, image)
    assert np.array_equal(first, change(image, np.random.default_rng(7), Photometric(**(NOTHING | one))))
    assert np.array_equal(image, kept)
    assert np.array_equal(change(image, np.random.default_rng(7), Photometric(**NOTHING)), image)


def people(tmp_path: Path, size: tuple[int, int] = (220, 260)) -> Pool:
    root = tmp_path / "people"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for stem in "ab":
        image, mask = disc(size)
        cv2.imwrite(str(root / "images" / f"{stem}.png"), image)
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), mask)
    (root / "train.txt").write_text("a b")
    return Pool(root.parent, SetConfig("people", cutouts=True, feet=True), classes=2)


@pytest.mark.parametrize("tilt", [0.0, 40.0])
@pytest.mark.parametrize("size", [(160, 160), (96, 160)])
def test_scenes_repeat_and_hold_people(tmp_path: Path, size: tuple[int, int], tilt: float) -> None:
    plain = Photometric(**NOTHING)
    maker = SceneMaker([people(tmp_path)], Scenes(paste=1.0, decoy=0.0, tilt_deg=tilt, photometric=plain))
    upright = SceneMaker(maker.pools, Scenes(paste=1.0, decoy=0.0, photometric=plain))
    held = leans = 0
    for seed in range(12):
        image, mask = maker(np.random.default_rng(seed), size)
        assert image.shape == (*size, 3)
        assert mask.shape == size
        again, same = maker(np.random.default_rng(seed), size)
        assert np.array_equal(image, again)
        assert np.array_equal(mask, same)
        # White people on black, dimmed a little towards it: what is drawn is what is labelled, but for the blended rim.
        drawn = image[..., 0] > 15
        held += bool(mask.any())
        leans += not np.array_equal(mask, upright(np.random.default_rng(seed), size)[1])
        assert np.count_nonzero(drawn != (mask == 1)) < 0.05 * mask.size
    assert held >= 10
    assert (leans > 6) == (tilt > 0)


def test_a_tilted_cutout_is_the_whole_figure_turned() -> None:
    area = np.zeros((90, 30), np.uint8)
    area[5:85, 5:25] = 1
    image = np.where(area[..., None] == 1, np.uint8(200), np.uint8(40)).repeat(3, axis=2)
    quarter, outline = tilted((image, area), 90.0)
    assert outline.shape == (30, 90)
    assert abs(int(outline.sum()) - 1600) < 60
    slanted, outline = tilted((image, area), 30.0)
    assert abs(int(outline.sum()) - 1600) < 60
    # Moments say by how much: the long axis of the figure leans by the angle, to the left for a positive one.
    moments = cv2.moments(outline, binaryImage=True)
    lean = 0.5 * np.arctan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])
    assert abs(np.degrees(lean)) == pytest.approx(60.0, abs=1.0)
    assert np.count_nonzero((slanted[..., 0] > 120) != (outline == 1)) < 0.03 * outline.size


def test_empty_scenes_hold_nobody(tmp_path: Path) -> None:
    # Room enough beside the person that each draw finds a free window.
    maker = SceneMaker([people(tmp_path, (440, 520))], Scenes(empty=1.0, photometric=Photometric(**NOTHING)))
    for seed in range(8):
        image, mask = maker(np.random.default_rng(seed), (64, 64))
        assert not mask.any()
        assert image.max() < 128


def test_what_is_in_front_of_people_is_no_person(tmp_path: Path) -> None:
    """White people on black; what lies in front of them is black, or gray and grainy. What is small is theirs."""
    pool, still = people(tmp_path, (440, 520)), Photometric(**NOTHING)
    bare, maker = (SceneMaker([pool], Scenes(occlude=share, photometric=still)) for share in (0.0, 1.0))
    covered = patched = 0
    for seed in range(24):
        full, whole = bare(np.random.default_rng(seed), (128, 128))
        image, mask = maker(np.random.default_rng(seed), (128, 128))
        assert not mask[whole == 0].any(), "nobody is added"
        hidden = (whole == 1) & (mask == 0)
        covered += bool(hidden.any())
        changed = np.abs(image.astype(int) - full).max(axis=2) > 8
        assert np.count_nonzero(changed[hidden]) >= 0.9 * np.count_nonzero(hidden), "what is hidden shows"
        on_them = np.count_nonzero(changed[mask == 1])
        # People whose mask lost nothing have a patch at most, or a soft edge in front of them.
        assert hidden.any() or on_them <= 0.5 * np.count_nonzero(whole == 1)
        patched += bool(on_them and not hidden.any())
    assert covered >= 8
    assert patched >= 5


def test_half_of_the_classes_of_another_picture_are_laid_over(tmp_path: Path) -> None:
    """Each picture shows its own classes in its own gray, so labels and colours can be told apart."""
    root = tmp_path / "sets"
    for name, shade in (("a", 50), ("b", 200)):
        ids = np.repeat(np.arange(4, dtype=np.uint8), 24)[None].repeat(96, 0)
        ids[:6] = 255
        for folder, content in (("images", np.full((96, 96, 3), shade, np.uint8)), ("masks", ids)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / folder / f"{name}.png"), content)
    (root / "train.txt").write_text("a b")
    pool = Pool(tmp_path, SetConfig("sets"), classes=4)
    still = {"geometric": Geometric(plain=1.0, flip=0.0), "photometric": Photometric(**NOTHING)}
    mixed = SceneMaker([pool], Scenes(mix=1.0, **still))  # type: ignore[arg-type]
    shares = []
    for seed in range(16):
        image, mask = mixed(np.random.default_rng(seed), (96, 96))
        assert np.array_equal(mask[10], np.repeat(np.arange(4), 24)), "both have them at the same place"
        assert (mask[:5] == 255).all(), "void is not laid over anything"
        bands = [set(image[8:, 24 * k + 2 : 24 * k + 22].ravel().tolist()) for k in range(4)]
        assert all(len(band) == 1 for band in bands), "a class goes over as a whole"
        shares.append(sum(band == {200} for band in bands))
    assert set(shares) == {0, 2, 4}


def test_a_scene_does_not_change_the_pictures_it_is_made_of(tmp_path: Path) -> None:
    pool = people(tmp_path)
    before = [pool[0][0].copy(), pool[0][1].copy()]
    maker = SceneMaker([pool], Scenes(paste=0.5, occlude=1.0, mix=1.0))
    for seed in range(12):
        maker(np.random.default_rng(seed), (64, 64))
    assert np.array_equal(pool[0][0], before[0])
    assert np.array_equal(pool[0][1], before[1])


def test_labels_are_mapped_and_parts_split(tmp_path: Path) -> None:
    write_set(tmp_path / "set", tuple("abcdef"))
    held = Pool(tmp_path, SetConfig("set", part="0/3"), 2)
    rest = Pool(tmp_path, SetConfig("set", without="0/3", labels={1: 255}, other=0), 2)
    assert [s.stem for s in held.samples] == ["a", "d"]
    assert [s.stem for s in rest.samples] == ["b", "c", "e", "f"]
    assert set(np.unique(rest[0][1])) == {0, 255}


def test_an_unknown_class_id_names_the_file(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    cv2.imwrite(str(root / "masks" / "b.png"), np.full((24, 32), 7, np.uint8))
    with pytest.raises(InputError, match="unknown class id: 7 in .*b.png"):
        Pool(tmp_path, SetConfig("set"), 2).load()
