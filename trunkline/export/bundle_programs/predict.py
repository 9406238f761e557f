"""Draw on a picture what the model beside this file says of it: python predict.py photo.jpg [prediction.png]

The sheet shows the picture, and then once for each task the picture under what the task says, in its colours.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps

HERE, LONGEST, OPAQUE = Path(__file__).parent, 1024, 0.65


def read(photo):
    """Return a picture in 8-bit colours: as the camera was held, and on white where it is transparent."""
    with Image.open(photo) as opened:
        picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I"):  # 16 bits, of which Pillow would show nearly all as white
        picture = Image.fromarray((np.asarray(picture, float).clip(0, 65535) / 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def colours_of(output, drawing):
    """Turn an output of the model, [K, h, w], into colours, [h, w, 3]."""
    if drawing["draw"] == "classes":
        return np.array(drawing["colours"])[output.argmax(0)]
    if drawing["draw"] == "directions":
        unit = output / np.maximum(np.linalg.norm(output, axis=0), 1e-12)
        return unit.transpose(1, 2, 0) * drawing["scale"] + drawing["middle"]
    values = 1 / (1 + np.exp(-output[0])) if drawing.get("sigmoid") else output[0]
    place = (values - drawing["low"]) / (drawing["high"] - drawing["low"])
    stops = np.linspace(0, 1, len(drawing["colours"]))
    colours = [np.interp(place, stops, channel) for channel in np.transpose(drawing["colours"])]
    return np.stack(colours, -1) * (values > drawing.get("nothing_to", -np.inf))[..., None]


def main(photo, out="prediction.png"):
    manifest = json.loads((HERE / "manifest.json").read_bytes())
    session = onnxruntime.InferenceSession(HERE / manifest["model"]["file"], providers=["CPUExecutionProvider"])
    try:
        picture = read(photo)
    except Exception as error:  # whatever Pillow's readers raise of a broken file
        sys.exit(f"{photo} cannot be read as a picture: {error}")
    image = manifest["input"]
    scaled = np.asarray(picture.resize((image["width"], image["height"]), Image.Resampling.BILINEAR)) / 255
    normalised = ((scaled - image["mean"]) / image["std"]).astype(np.float32)
    outputs = session.run(None, {image["name"]: normalised.transpose(2, 0, 1)[None]})
    picture.thumbnail((LONGEST, LONGEST))
    tiles, labels = {"the picture": picture}, []
    for task, output in zip(manifest["tasks"], outputs):
        if task["drawing"]["draw"] == "label":
            number = int(output[0].argmax())
            labels.append(f"{task['name']}: {task['classes'][number] if task['classes'] else number}")
        else:
            drawn = Image.fromarray(colours_of(output[0], task["drawing"]).clip(0, 255).astype(np.uint8))
            # Halfway between two classes there is no third one.
            how = Image.Resampling.NEAREST if task["drawing"]["draw"] == "classes" else Image.Resampling.BILINEAR
            tiles[task["name"]] = Image.blend(picture, drawn.resize(picture.size, how), OPAQUE)
    sheet = Image.new("RGB", (picture.width * len(tiles), picture.height))
    for number, tile in enumerate(tiles.values()):
        sheet.paste(tile, (picture.width * number, 0))
    ImageDraw.Draw(sheet).text((4, 4), "\n".join(labels), "yellow", font_size=max(10, picture.height // 20))
    try:
        sheet.save(out)
    except (OSError, ValueError) as error:
        sys.exit(f"{out} cannot be written: {error}")
    print("\n".join([*labels, f"{out}: {', '.join(tiles)}"]))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (2, 3) else sys.exit(__doc__)
