"""The digit world: the same every time, real digits, and every one of them readable."""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from mmkd_ext.demo_data import digits, scenes
from mmkd_ext.demo_data.scenes import NOTHING, Scene, Sprite


@pytest.fixture(scope="module")
def world() -> dict[str, list[Scene]]:
    return {split: list(scenes.scenes(split)) for split in scenes.IMAGES}


def digits_of(scene: Scene) -> dict[int, Sprite]:
    """The digits with their indices among the sprites."""
    return {i: sprite for i, sprite in enumerate(scene.sprites) if sprite.label is not None}


def luminance(image: np.ndarray) -> np.ndarray:
    return np.asarray(image, dtype=float) @ [0.299, 0.587, 0.114]


def square(x: int, y: int, ink: tuple[int, int, int] = (255, 255, 255)) -> Sprite:
    return Sprite(np.full((4, 4), 255, dtype=np.uint8), ink, x, y, label=0)


def test_any_scene_can_be_made_alone(world):
    for split, index in (("train", 799), ("val", 0), ("test", 17)):
        again = scenes.scene(split, index)
        np.testing.assert_array_equal(
            scenes.render(again).image, scenes.render(world[split][index]).image
        )
        assert [s.source for s in again.sprites] == [s.source for s in world[split][index].sprites]


def test_no_two_images_are_alike(world):
    images = {scenes.render(scene).image.tobytes() for split in world for scene in world[split]}
    assert len(images) == sum(scenes.IMAGES.values())


def test_splits_share_no_digit_and_labels_are_scikit_learns(world):
    from sklearn.datasets import load_digits

    target = load_digits().target
    used = {}
    for split, members in digits.load().splits.items():
        sprites = [s for scene in world[split] for s in digits_of(scene).values()]
        assert all(sprite.label == target[sprite.source] for sprite in sprites)
        used[split] = {sprite.source for sprite in sprites}
        assert used[split] <= set(members.tolist())
    assert all(not used[a] & used[b] for a, b in combinations(used, 2))


def test_every_split_has_all_classes_sizes_overlaps_and_empty_images(world):
    for split, stills in world.items():
        number = [len(digits_of(scene)) for scene in stills]
        assert set(number) == set(range(8))
        assert 0.03 < number.count(0) / len(number) < 0.17
        classes = Counter(s.label for scene in stills for s in digits_of(scene).values())
        assert set(classes) == set(range(10))
        assert max(classes.values()) < 2.5 * min(classes.values()), (split, classes)
        sizes = {s.coverage.shape for scene in stills for s in digits_of(scene).values()}
        assert sizes == {(size, size) for size in scenes.SPRITE_SIZES}
        stains = sum(len(scene.sprites) > len(digits_of(scene)) for scene in stills)
        assert 0.2 < stains / len(stills) < 0.5


def test_digits_hide_one_another_but_stay_readable(world):
    hidden = total = 0
    for scene in (scene for stills in world.values() for scene in stills):
        picture = scenes.render(scene)
        for index, sprite in digits_of(scene).items():
            whole = int((sprite.coverage >= scenes.SOLID).sum())
            visible = int(picture.mask(index).sum())
            assert visible >= 60
            assert visible >= 0.7 * whole
            hidden += visible < whole
            total += 1
    assert 0.1 < hidden / total < 0.5


def test_ink_stands_out_and_does_not_tell_the_class(world):
    inks: dict[int, list] = {label: [] for label in range(10)}
    for scene in world["train"]:
        for index, sprite in digits_of(scene).items():
            below = scenes.render(Scene(scene.background, scene.sprites[:index])).image
            mask = scenes.render(Scene(below, (sprite,))).mask(0)
            lighter = luminance(sprite.ink) - luminance(scene.background[mask])
            assert np.percentile(lighter, 10) >= scenes.MIN_LIGHTER - 1
            distance = np.abs(below[mask].astype(int) - sprite.ink).max(axis=1)
            assert np.percentile(distance, 10) >= scenes.MIN_DISTANCE
            inks[sprite.label].append(sprite.ink)
    means = np.asarray([np.mean(inks[label], axis=0) for label in range(10)])
    # Over 200 inks a class, each channel spread by 60: the means' own spread is about 4.
    assert means.std(axis=0).max() < 10


def test_a_later_sprite_hides_an_earlier_one():
    background = np.zeros((16, 16, 3), dtype=np.uint8)
    below, above = square(2, 2, (9, 9, 9)), square(4, 3, (7, 7, 7))
    picture = scenes.render(Scene(background, (below, above)))
    assert picture.mask(1).sum() == 16
    assert picture.mask(0).sum() == 16 - 2 * 3
    assert (picture.owner == NOTHING).sum() == 256 - 26
    assert set(picture.image[picture.mask(0)].ravel()) == {9}
    assert set(picture.image[picture.mask(1)].ravel()) == {7}


def test_a_sprite_can_be_moved_out_of_the_image():
    background = np.zeros((16, 16, 3), dtype=np.uint8)
    sprite = square(6, 6)
    whole = scenes.render(Scene(background, (sprite,))).owner
    for x, y in ((-2, 6), (14, 14), (3, -3), (-4, 0), (16, 2), (90, -90)):
        owner = scenes.render(Scene(background, (replace(sprite, x=x, y=y),))).owner
        expected = np.full_like(whole, NOTHING)
        for row, column in np.argwhere(whole == 0):
            row, column = row + y - sprite.y, column + x - sprite.x
            if 0 <= row < 16 and 0 <= column < 16:
                expected[row, column] = 0
        np.testing.assert_array_equal(owner, expected)
