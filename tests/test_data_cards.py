import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import yaml

from ifnormal.benchmarks.listing import listing
from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data import BUILDERS, load_setup
from ifnormal.data.setups.card import Builder, Card
from ifnormal.data.setups.card_files import FOLDER, VARIABLE, all_cards, card

CARD = """
family: mine
title: My classes
builder: classes
source: my_set
size: 8
channels: 1
exposure: {use: first, of: [synthetic]}
budgets:
  both: {fit.concepts: 2}
  small: {fit.steps: 7}
setups:
  - id: one/{name}
    group: single
    normal: "{words}"
    each:
      - apple
      - {name: citrus, words: lemons and limes, normal: [lemon, lime], anomalies: [apple]}
"""


@pytest.fixture(autouse=True)
def _no_cards_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def folder_of(tmp_path: Path, text: str = CARD, name: str = "mine.yaml") -> Path:
    folder = tmp_path / "cards"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_the_papers_setups_are_there() -> None:
    cards = all_cards()
    count = Counter(each.family for each in cards.values())
    assert len(cards) >= 80
    assert count["mnist"] == count["cifar10"] == 20
    assert count["cmnist"] >= 14
    assert count["gtsrb"] >= 8
    assert count["inn"] >= 20
    assert count["mvtec"] == 15
    for digit in range(10):
        assert cards[f"mnist/one-vs-rest/{digit}"].normal_classes == (digit,)
    for color in ("red", "yellow", "green", "cyan", "blue", "pink", "white"):
        assert cards[f"cmnist/one+{color}"].options == {"digit": 1, "color": color}
    assert cards["cmnist/seven+blue"].normal == "digit 7 in any colour, or any digit in blue"
    assert cards["cifar10/multi/ship+truck"].normal_classes == ("ship", "truck")
    assert cards["cifar10/multi/ship+truck"].normal == "ship or truck"
    assert cards["mnist/multi/1+7"].group == "several"
    assert cards["mvtec/screw"].channels == 1
    assert list(cards) == list(all_cards())


def test_every_card_is_whole() -> None:
    data = {field.name for field in fields(DataConfig)}
    for id, each in all_cards().items():
        assert id == each.id
        assert id.startswith(each.family + "/")
        assert (each.size + 2 * each.pad) % 4 == 0, id
        assert set(each.budgets) == {"small", "paper"}
        for budget in each.budgets.values():
            assert {k.split(".")[0] for k in budget} <= {"detector", "fit", "data", "judge_steps"}
            assert {k.split(".")[1] for k in budget if k.startswith("data.")} <= data
        assert each.budgets["paper"]["fit.steps"] > each.budgets["small"]["fit.steps"]
    assert set(BUILDERS) == set(get_args(Builder))


def test_every_budget_is_made_of_options_that_there_are() -> None:
    options = pytest.importorskip("ifnormal.benchmarks.options")
    from ifnormal.benchmarks.experiment import BenchRun

    for id in all_cards():
        for budget in ("small", "paper"):
            run = BenchRun("any", id, "bce", 0, budget=budget)
            assert options.configs_of(run, None).data.setup == id


def test_the_full_size_imagenet_has_the_same_setups() -> None:
    cards = all_cards()
    small = [each for each in cards.values() if each.family == "inn"]
    for each in small:
        full = cards[each.id.replace("inn/", "imagenet/")]
        assert full.size == 224
        assert full.source.name == "imagenet"
        assert full.normal_classes == each.normal_classes
        assert full.anomaly_classes == each.anomaly_classes


def test_neighbours_are_those_of_the_data() -> None:
    root = os.environ.get("IFNORMAL_DATA")
    if not root or not (Path(root) / "tiny_imagenet" / "neighbors.json").exists():
        pytest.skip("IFNORMAL_DATA has no tiny_imagenet/neighbors.json")
    known = json.loads((Path(root) / "tiny_imagenet" / "neighbors.json").read_text())["classes"]
    for each in all_cards().values():
        if each.family == "inn":
            nearest = known[str(each.normal_classes[0])]["neighbors"]
            assert each.anomaly_classes == tuple(one["wnid"] for one in nearest)
            assert each.classes == {wnid: one["name"] for wnid, one in known.items()}


def test_a_card_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path)
    assert "mine/one/apple" not in all_cards()
    mine = all_cards(folder)
    assert mine["mine/one/apple"].normal_classes == ("apple",)
    citrus = mine["mine/one/citrus"]
    assert citrus.normal_classes == ("lemon", "lime")
    assert citrus.anomaly_classes == ("apple",)
    assert citrus.normal == "lemons and limes"
    assert citrus.budgets == {
        "small": {"fit.concepts": 2, "fit.steps": 7},
        "paper": {"fit.concepts": 2},
    }
    monkeypatch.setenv(VARIABLE, str(folder))
    assert card("mine/one/citrus") == citrus
    assert all_cards(folder) == mine  # named twice, read once


def test_a_card_that_changed_is_read_again(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    assert card("mine/one/apple", folder).size == 8
    folder_of(tmp_path, CARD.replace("size: 8", "size: 128"))
    assert card("mine/one/apple", folder).size == 128


def test_a_family_may_extend_one_of_ours(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "extends: mnist\nfamily: large-mnist\nsize: 56\npad: 4\n")
    mine = card("large-mnist/multi/1+7", folder)
    assert (mine.size, mine.pad, mine.normal_classes) == (56, 4, (1, 7))
    assert mine.budgets == card("mnist/multi/1+7").budgets


def test_a_source_of_ones_own(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder_of(tmp_path, "my_set: {title: Fruit, hub: me/fruit}", "sources.yaml")
    mine = card("mine/one/apple", folder).source
    assert (mine.name, mine.title, mine.hub) == ("my_set", "Fruit", "me/fruit")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("size: 8", "size: big", "size must be a whole number"),
        ("size: 8", "sizes: 8", "sizes is unknown"),
        ("size: 8\n", "", "size is missing"),
        ("channels: 1", "channels: 2", "channels is 2, must be one of 1, 3"),
        ("channels: 1", "channels: true", "channels is True"),
        ("builder: classes", "builder: magic", "builder is 'magic'"),
        ("source: my_set", "source: ../etc", "source '../etc' is no name"),
        ("use: first", "use: some", "exposure.use is 'some'"),
        ("of: [synthetic]", "of: {synthetic: -1}", "exposure.of.synthetic must be a positive"),
        ("of: [synthetic]", "of: synthetic", "exposure.of must be a list"),
        ("  small:", "  tiny:", "budgets.tiny is 'tiny'"),
        ("group: single", "group: triple", r"setups\[0\].group is 'triple'"),
        ("    group: single\n", "", r"setups\[0\].group is missing"),
        ("one/{name}", "one/{nom}", r"setups\[0\].id may only hold {name}, {words}"),
        ("[lemon, lime]", "[lemon, lemon]", r"each\[1\].normal names a class twice"),
        ("[lemon, lime]", "[1.5]", r"each\[1\].normal must be names of classes"),
        ("words: lemons", "word: lemons", r"each\[1\].word is unknown"),
        ("  - id", "    id", "setups must be a list"),
        ("family: mine", "extends: nothing\nfamily: mine", "extends names no family"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_key(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    assert old in CARD
    folder = folder_of(tmp_path, CARD.replace(old, new))
    with pytest.raises(UserError, match=rf"mine\.yaml: the key .*{key}"):
        all_cards(folder)


@pytest.mark.parametrize(
    ("text", "what"),
    [("family: [", "is no YAML"), ("- a list", "must be keys with values"), ("", "must be keys")],
)
def test_what_is_no_card_at_all(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(UserError, match=rf"mine\.yaml.*{what}"):
        all_cards(folder_of(tmp_path, text))


def test_two_cards_with_one_id(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, CARD.replace("- apple\n", "- apple\n      - apple\n"))
    with pytest.raises(UserError, match="describes mine/one/apple, and so does"):
        all_cards(folder)


def test_no_code_runs_in_a_card(tmp_path: Path) -> None:
    evil = f"family: !!python/object/apply:pathlib.Path.touch ['{tmp_path}/touched']\n"
    with pytest.raises(UserError, match="is no YAML"):
        all_cards(folder_of(tmp_path, evil))
    assert not (tmp_path / "touched").exists()


def test_an_unknown_id_names_some_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no setup 'mnist/one-vs-rest/11'.*mnist/one-vs-rest/0"):
        card("mnist/one-vs-rest/11")
    with pytest.raises(UserError, match="cifar10/…"):
        load_setup(DataConfig(setup="nothing/at/all"), 0)
    with pytest.raises(UserError, match="holds no cards"):
        all_cards(tmp_path)


def test_listing_loads_no_torch_and_names_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "cifar10" / "train").mkdir(parents=True)
    (tmp_path / "screw" / "train" / "good").mkdir(parents=True)
    script = (
        "import json, sys; from pathlib import Path;"
        "from ifnormal.benchmarks.listing import listing;"
        f"rows = listing(Path({str(tmp_path)!r})); assert 'torch' not in sys.modules;"
        "print(json.dumps(rows))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "hub")},
    )
    rows = {row["id"]: row for row in json.loads(ran.stdout)}
    assert set(rows) == set(all_cards())
    assert {"id", "family", "available", "missing"} == set(rows["mvtec/screw"])
    assert rows["mvtec/screw"]["available"]
    assert rows["mvtec/screw"]["missing"] == []
    assert not rows["mvtec/bottle"]["available"]
    assert "mvtec-ad" in rows["mvtec/bottle"]["missing"][0]
    # CIFAR-10 itself is there, of its outliers nothing.
    assert [name.split(":")[0] for name in rows["cifar10/multi/ship+truck"]["missing"]] == [
        "cifar100"
    ]
    (missing,) = rows["mnist/one-vs-rest/7"]["missing"]
    target = tmp_path / "mnist"
    assert f"hf download ylecun/mnist --repo-type dataset --local-dir {target}" in missing


def test_the_shared_data_root_has_eighty_setups() -> None:
    root = os.environ.get("IFNORMAL_DATA")
    if not root:
        pytest.skip("IFNORMAL_DATA names no data root")
    rows = listing(Path(root))
    assert sum(row["available"] for row in rows) >= 80


def test_the_files_of_the_cards_are_yaml_that_a_person_can_read() -> None:
    for path in FOLDER.glob("*.yaml"):
        text = path.read_text()
        assert yaml.safe_load(text)
        assert max(map(len, text.splitlines())) <= 110, path
        assert isinstance(next(iter(all_cards().values())), Card)
