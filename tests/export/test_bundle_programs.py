"""What a bundle's receiver runs: pictures of every kind are drawn on, broken ones are named, noise is called noise."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from trunkline.bench.stability import instability
from trunkline.bench.statistics import percentile_with_interval
from trunkline.export.bundle import write_bundle
from trunkline.export.formats.onnx_model import write_onnx
from trunkline.graph.builder import GraphBuilder
from trunkline.graph.graph import Graph

SIDE = 8
RED, BLUE = [255, 0, 0], [0, 0, 255]
DRAWINGS: dict[str, dict[str, Any]] = {
    "scene": {"draw": "label"},
    "parts": {"draw": "classes", "colours": [RED, BLUE]},
    "depth": {"draw": "ramp", "low": 0.0, "high": 1.0, "colours": [[0, 0, 0], [255, 255, 255]]},
    "normals": {"draw": "directions", "scale": 127.5, "middle": 127.5},
}


def network() -> Graph:
    """Means of colours as scores of classes, and the colours themselves as everything else."""
    b = GraphBuilder("colours")
    image = b.image("image", (3, SIDE, SIDE))

    def mixed(name: str, weight: object) -> Any:
        kernel = np.array(weight, np.float32)[..., None, None]
        return b.node("Conv", [image, b.tensor(f"{name}.w", kernel)], name=name, outputs=[name])

    parts, depth = mixed("parts", [[1, 0, 0], [0, 0, 1]]), mixed("depth", [[1 / 3] * 3])
    scene = b.node("GlobalAveragePool", [image], name="scene", outputs=["scene"])
    return b.finish([scene, parts, depth, mixed("normals", np.eye(3))])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled")
    model = write_onnx(network(), folder / "m.onnx")
    classes = {"scene": ["warm", "green", "cold"]}
    manifest = {
        "name": "colours",
        "model": {"precision": "float32"},
        "input": {"name": "image", "height": SIDE, "width": SIDE, "mean": [0.0] * 3, "std": [1.0] * 3},
        "tasks": [{"name": name, "classes": classes.get(name, []), "drawing": draw} for name, draw in DRAWINGS.items()],
    }
    return write_bundle(folder / "bundle", model, manifest).folder


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def predict(bundle: Path) -> ModuleType:
    return loaded(bundle / "predict.py")


@pytest.fixture
def bench(bundle: Path) -> ModuleType:
    return loaded(bundle / "bench.py")


def halves(width: int = 60, height: int = 40) -> np.ndarray:
    """Red on the left, blue on the right: 40 of every colour less than there is."""
    pixels = np.full((height, width, 3), 0, np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 215
    return pixels


def tiles_of(sheet: Path, count: int = 4) -> list[np.ndarray]:
    with Image.open(sheet) as drawn:
        return np.split(np.asarray(drawn).astype(int), count, axis=1)


@pytest.mark.golden
def test_each_task_is_drawn_on_the_picture(
    predict: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(halves()).save(tmp_path / "photo.png")
    predict.main(tmp_path / "photo.png", tmp_path / "out.png")
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "scene: warm"
    assert "the picture, parts, depth, normals" in said
    photo, parts, depth, normals = tiles_of(tmp_path / "out.png")
    # What is said of the whole image is written on the picture, in its upper left.
    assert (photo[30:] == halves()[30:]).all() and (photo[:16, :40] != halves()[:16, :40]).any()

    def over(place: tuple[int, int], colour: list[float]) -> np.ndarray:
        return 0.65 * np.array(colour) + 0.35 * halves()[place]

    for place, part, direction in (((20, 5), RED, [255, 127.5, 127.5]), ((20, 55), BLUE, [127.5, 127.5, 255])):
        np.testing.assert_allclose(parts[place], over(place, part), atol=2)
        np.testing.assert_allclose(depth[place], over(place, [215 / 3] * 3), atol=2)
        np.testing.assert_allclose(normals[place], over(place, direction), atol=2)


@pytest.mark.golden
def test_of_two_classes_none_lies_between(predict: ModuleType, tmp_path: Path) -> None:
    pixels = np.asarray(Image.fromarray(halves(SIDE, SIDE)).resize((90, 90), Image.Resampling.NEAREST))
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    predict.main(tmp_path / "photo.png", tmp_path / "out.png")
    parts = tiles_of(tmp_path / "out.png")[1]
    assert len(np.unique(parts.reshape(-1, 3), axis=0)) == 2


def grey() -> Image.Image:
    return Image.fromarray(np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1)))


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.tile(np.arange(60, dtype=np.uint16) * 4 * 257, (40, 1)))


def cut_out() -> Image.Image:
    """Only the left half is there; below the hole lies green."""
    pixels = np.dstack([halves(), np.full((40, 60), 255, np.uint8)])
    pixels[:, 30:] = (0, 255, 0, 0)
    return Image.fromarray(pixels)


def half_white() -> np.ndarray:
    pixels = halves()
    pixels[:, 30:] = 255
    return pixels


CMYK = Image.fromarray(halves()).convert("CMYK")
GREY = np.asarray(grey().convert("RGB"))
PICTURES: dict[str, tuple[str, Image.Image, np.ndarray]] = {
    "grey": ("p.png", grey(), GREY),
    "16 bits": ("p.png", sixteen_bits(), GREY),
    "16 bits, another format": ("p.tif", sixteen_bits(), GREY),
    "32 bits": ("p.tif", Image.fromarray(np.asarray(sixteen_bits()).astype(np.int32)), GREY),
    "transparent": ("p.png", cut_out(), half_white()),
    "grey and transparent": ("p.png", Image.merge("LA", [grey(), Image.new("L", (60, 40), 255)]), GREY),
    "palette": ("p.png", Image.fromarray(halves()).convert("P", palette=Image.Palette.ADAPTIVE), halves()),
    "transparent palette": ("p.gif", cut_out(), half_white()),
    "CMYK": ("p.tif", CMYK, np.asarray(CMYK.convert("RGB"))),
    "black and white": ("p.png", grey().point(lambda number: 255 * (number > 99), mode="1"), 255 * (GREY > 99)),
    "one pixel": ("p.png", Image.new("RGB", (1, 1), (9, 9, 9)), np.full((1, 1, 3), 9)),
    "a strip": ("p.png", Image.new("RGB", (700, 2), (9, 9, 9)), np.full((2, 700, 3), 9)),
}


@pytest.mark.golden
@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture_is_read(predict: ModuleType, tmp_path: Path, kind: str) -> None:
    name, picture, expected = PICTURES[kind]
    picture.save(tmp_path / name)
    np.testing.assert_allclose(np.asarray(predict.read(tmp_path / name)).astype(int), expected, atol=2)
    predict.main(tmp_path / name, tmp_path / "out.png")
    assert {tile.shape for tile in tiles_of(tmp_path / "out.png")} == {expected.shape}


@pytest.mark.golden
def test_a_picture_stands_as_the_camera_was_held(predict: ModuleType, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(np.rot90(halves())).save(tmp_path / "p.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(predict.read(tmp_path / "p.png")), halves())


@pytest.mark.golden
@pytest.mark.parametrize(("size", "shown"), [((3000, 1000), (1024, 341)), ((500, 2048), (250, 1024))])
def test_a_large_picture_keeps_its_shape(
    predict: ModuleType, tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    Image.new("RGB", size).save(tmp_path / "p.png")
    predict.main(tmp_path / "p.png", tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as sheet:
        assert sheet.size == (4 * shown[0], shown[1])


@pytest.mark.abuse
@pytest.mark.parametrize("what", ["missing", "folder", "empty", "text", "cut.jpg", "cut.png"])
def test_a_broken_picture_is_named(predict: ModuleType, tmp_path: Path, what: str) -> None:
    photo = tmp_path / what
    if what == "folder":
        photo.mkdir()
    elif what.startswith("cut"):
        pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(photo)
        photo.write_bytes(photo.read_bytes()[:900])
    elif what != "missing":
        photo.write_text("" if what == "empty" else "a picture")
    with pytest.raises(SystemExit) as ended:
        predict.main(str(photo), tmp_path / "out.png")
    assert str(ended.value.code).startswith(f"{photo} cannot be read as a picture: ")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.abuse
@pytest.mark.parametrize("out", ["no/where.png", "out.picture"])
def test_a_place_that_cannot_be_written_is_named(predict: ModuleType, tmp_path: Path, out: str) -> None:
    Image.fromarray(halves()).save(tmp_path / "p.png")
    with pytest.raises(SystemExit) as ended:
        predict.main(tmp_path / "p.png", tmp_path / out)
    assert f"{out} cannot be written: " in str(ended.value.code)


@pytest.mark.parity
def test_the_verdict_is_that_of_our_bench(bench: ModuleType) -> None:
    """On steady, noisy, drifting and short series; and the medians with their intervals."""
    verdicts = set()
    for seed in range(120):
        rng = np.random.default_rng(seed)
        count = int(rng.choice([11, 21, 22, 43, 44, 200, 700]))
        series = 5 + rng.choice([0.01, 0.3, 2]) * rng.standard_normal(count)
        series += rng.choice([-1, 0, 0.1, 1]) * np.linspace(0, 1, count)
        # A neighbour that was there for a quarter of the time.
        series[count // 2 : 3 * count // 4] += rng.choice([0, 0, 2])
        samples = [float(value) for value in np.abs(series) + 0.1]
        ours = percentile_with_interval(samples, 0.5)
        assert ours is not None
        np.testing.assert_allclose(bench.middle(samples), (ours.value, *ours.interval), rtol=1e-12)
        said, expected = bench.doubt(samples), instability(samples)
        assert bool(said) == bool(expected), (seed, said, expected)
        assert said.split()[:1] == expected.split()[:1]
        verdicts.add(said.split(" ")[0])
    assert verdicts == {"", "too", "slowed", "sped"}


class Watch:
    """A clock that only runs take time of."""

    def __init__(self) -> None:
        self.ns, self.runs = 0, 0

    def perf_counter(self) -> float:
        return self.ns / 1e9

    def perf_counter_ns(self) -> int:
        return self.ns


@pytest.mark.golden
@pytest.mark.parametrize("settles", [True, False])
def test_runs_are_measured_once_they_are_flat(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, settles: bool
) -> None:
    watch, fed = Watch(), []

    def run(number: int) -> None:
        fed.append(number)
        # The first 24 runs are slow; or each 8 are slower than those before, until the warm-up is over.
        slow = len(fed) <= 24 if settles else watch.perf_counter() <= 10
        watch.ns += int(1e7 * (1.2 ** (len(fed) // 8) if slow and not settles else 3 if slow else 1))

    monkeypatch.setattr(bench, "time", watch)
    monkeypatch.setattr(bench, "gc", SimpleNamespace(disable=lambda: None))
    samples, reason = bench.measure(run, 2.0)
    assert len(samples) in (200, 201) and set(samples) == {10.0}
    assert set(fed) == set(range(4))
    assert reason == ("" if settles else "the running median was not flat after 10 s of warm-up")


@pytest.mark.abuse
@pytest.mark.parametrize("wrong", [("--threads", "0"), ("--threads", "x"), ("--seconds", "-1"), ("--seconds", "nan")])
def test_wrong_arguments_are_refused(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench.py", *wrong])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.golden
def test_weights_beside_a_model_come_along(tmp_path: Path) -> None:
    """Under their own name, which is what the model calls them."""
    b = GraphBuilder("wide")
    wide = b.node(
        "Conv", [b.image("image", (3, SIDE, SIDE)), b.tensor("w", np.ones((99, 3, 1, 1), np.float32))], name="c"
    )
    model = write_onnx(b.finish([wide]), tmp_path / "model.float16.onnx", external_bytes=0)
    made = write_bundle(tmp_path / "bundle", model, {})
    assert [*made.manifest["model"]["weights"]] == ["model.float16.onnx.data"]
    pixels = {"image": np.ones((1, 3, SIDE, SIDE), np.float32)}
    (found,) = onnxruntime.InferenceSession(made.folder / "model.onnx").run(None, pixels)
    np.testing.assert_array_equal(found, 3)
