"""Run the model beside this file on a picture, and draw what it says: python predict.py photo.jpg out.png"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent


def ramp(values, drawing):
    """Colour numbers: from the first colour at `low` to the last one at `high`."""
    values = 1 / (1 + np.exp(-values)) if drawing.get("sigmoid") else values
    place = np.clip((values - drawing["low"]) / (drawing["high"] - drawing["low"]), 0, 1)
    colours = np.array(drawing["colours"], float)
    stops = np.linspace(0, 1, len(colours))
    coloured = np.stack([np.interp(place, stops, colours[:, channel]) for channel in range(3)], -1)
    coloured[values <= drawing.get("nothing_to", -np.inf)] = 0
    return coloured


def drawn(output, drawing):
    """Turn one output of the model, [K, h, w], into colours, [h, w, 3]."""
    if drawing["draw"] == "classes":
        return np.array(drawing["colours"])[output.argmax(0)]
    if drawing["draw"] == "directions":
        unit = (output / np.maximum(np.linalg.norm(output, axis=0), 1e-12)).transpose(1, 2, 0)
        return unit * drawing["scale"] + drawing["middle"]
    return ramp(output[0], drawing)


def main(photo, out="prediction.png"):
    manifest = json.loads((HERE / "manifest.json").read_text())
    session = onnxruntime.InferenceSession(str(HERE / manifest["model"]["file"]))
    height, width = manifest["input"]["height"], manifest["input"]["width"]
    picture = Image.open(photo).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    scaled = np.asarray(picture, np.float32) / 255
    normalised = (scaled - manifest["input"]["mean"]) / manifest["input"]["std"]
    outputs = session.run(None, {manifest["input"]["name"]: normalised.astype(np.float32).transpose(2, 0, 1)[None]})
    tiles, shown = [picture], []
    for task, output in zip(manifest["tasks"], outputs):
        if task["drawing"]["draw"] == "label":
            names = task["classes"] or list(range(output.shape[1]))
            print(f"{task['name']}: {names[int(output[0].argmax())]}")
        else:
            colours = drawn(output[0], task["drawing"]).clip(0, 255).astype(np.uint8)
            shown.append(task["name"])
            tiles.append(Image.fromarray(colours).resize((width, height), Image.Resampling.BILINEAR))
    sheet = Image.new("RGB", (width * len(tiles), height))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (width * number, 0))
    sheet.save(out)
    print(f"{out}: the picture, then {', '.join(shown)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
