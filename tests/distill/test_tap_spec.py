import pytest

from mmkd_ext.distill.tap_spec import (
    Tap,
    TapError,
    expand_braces,
    is_patterned,
    match_names,
    resolve_taps,
)

NAMES = [
    "backbone",
    *(f"backbone.layer{i}" for i in range(1, 5)),
    "neck",
    "neck.fpn_convs",
    *(f"neck.fpn_convs.{i}" for i in range(12)),
    *(f"neck.fpn_convs.{i}.conv" for i in range(12)),
    "head",
    "head.fc",
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.{0-2}.b", ["a.0.b", "a.1.b", "a.2.b"]),
        ("a.{0,1,11}", ["a.0", "a.1", "a.11"]),
        ("a.{0-1,5}", ["a.0", "a.1", "a.5"]),
        ("{x,y}.{1-2}", ["x.1", "x.2", "y.1", "y.2"]),
        ("layer{3-4}", ["layer3", "layer4"]),
        ("plain.name[-1]", ["plain.name[-1]"]),
    ],
)
def test_braces_expand(text, expected):
    assert expand_braces(text) == expected


@pytest.mark.parametrize("text", ["a.{0-", "a.0}", "a.{3-1}", "a.{,}", "a.{{0}}"])
def test_broken_braces_are_named(text):
    with pytest.raises(TapError, match="a\\."):
        expand_braces(text)


def test_an_element_of_the_output():
    assert Tap.parse("backbone[-1]") == Tap("backbone", -1)
    assert str(Tap.parse("backbone[2]")) == "backbone[2]"
    with pytest.raises(TapError, match="not a module name"):
        Tap.parse("backbone[x]")


def test_glob_is_one_component_in_module_order():
    hits = match_names("neck.fpn_convs.*", NAMES, "student")
    assert [tap.name for tap in hits] == [f"neck.fpn_convs.{i}" for i in range(12)]
    assert [t.name for t in match_names("backbone.layer*", NAMES, "student")] == NAMES[1:5]
    with pytest.raises(TapError, match="no such module"):
        match_names("neck.*", ["neck.a.b"], "student")


def test_unknown_module_lists_neighbours():
    with pytest.raises(TapError, match=r"'backbone.layer5'.*did you mean 'backbone.layer\d'"):
        match_names("backbone.layer5", NAMES, "teacher")
    with pytest.raises(TapError, match="'head' has fc"):
        match_names("head.classifier.weight", NAMES, "student")


def test_a_pattern_makes_one_pair_per_match():
    pairs = resolve_taps("neck.fpn_convs.{0-4}.conv", NAMES, NAMES, "losses['mgd']")
    assert [(p.student.name, p.teacher.name) for p in pairs] == [
        (f"neck.fpn_convs.{i}.conv",) * 2 for i in range(5)
    ]
    assert is_patterned("a.*")
    assert is_patterned({"student": "a.{0-1}", "teacher": "b"})
    assert not is_patterned(["a.*"])


def test_names_apart_and_one_to_many():
    tap = {"student": "backbone.layer{3-4}", "teacher": "backbone.layer{1-2}"}
    pairs = resolve_taps(tap, NAMES, NAMES, "losses['x']")
    assert [(p.student.name[-1], p.teacher.name[-1]) for p in pairs] == [("3", "1"), ("4", "2")]
    tap = {"student": "backbone.layer{1-3}", "teacher": "backbone.layer4"}
    assert [p.teacher.name[-1] for p in resolve_taps(tap, NAMES, NAMES, "losses['x']")] == ["4"] * 3
    tap = {"student": "backbone.layer{1-3}", "teacher": "backbone.layer{1-2}"}
    with pytest.raises(
        TapError, match=r"losses\['x'\].*3 modules of the student.*2 of the teacher"
    ):
        resolve_taps(tap, NAMES, NAMES, "losses['x']")


def test_lists_and_dicts_go_to_one_loss():
    (pair,) = resolve_taps(["neck.fpn_convs.{0,11}", "head.fc"], NAMES, NAMES, "losses['x']")
    assert [tap.name for tap in pair.student] == [
        "neck.fpn_convs.0",
        "neck.fpn_convs.11",
        "head.fc",
    ]
    nested = {"logits": "head.fc", "map": {"student": "backbone.layer3", "teacher": "backbone[0]"}}
    (pair,) = resolve_taps(nested, NAMES, NAMES, "losses['x']")
    assert pair.student == {"logits": Tap("head.fc"), "map": Tap("backbone.layer3")}
    assert pair.teacher == {"logits": Tap("head.fc"), "map": Tap("backbone", 0)}
    with pytest.raises(TapError, match="inside a dict matches 4"):
        resolve_taps({"maps": "backbone.layer*"}, NAMES, NAMES, "losses['x']")


def test_no_tap_and_missing_side():
    with pytest.raises(TapError, match=r"losses\['x'\] has no `tap`"):
        resolve_taps(None, NAMES, NAMES, "losses['x']")
    with pytest.raises(TapError, match="what to tap in the teacher"):
        resolve_taps({"student": "head.fc"}, NAMES, NAMES, "losses['x']")
    (pair,) = resolve_taps({"student": "head.fc"}, NAMES, None, "losses['x']")
    assert pair.teacher is None
