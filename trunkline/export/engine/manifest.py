"""Which engines are trusted: those that this user has built on this machine, unchanged.

An engine is code: loading one is running it, and TensorRT does not notice that one was tampered with. A manifest
beside it could come from where the engine came from, so it is sealed with a key that does not leave the machine.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trunkline.errors import InvalidModel, WorkFailed
from trunkline.export.engine.key import EngineKey

FORMAT, VERSION = "trunkline-engine", 1
_KEY_BYTES = 32
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ADVICE = "an engine is code, so no other is taken; delete it, and `trunkline engine` builds it here again"


@dataclass(frozen=True, slots=True)
class SealedEngine:
    """An engine of this user and machine, as it was built.

    Attributes:
        key: What it was built for.
        plan: Its bytes.
    """

    key: EngineKey
    plan: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of its bytes, in hexadecimal."""
        return hashlib.sha256(self.plan).hexdigest()


def manifest_of(engine: Path) -> Path:
    """Return where the manifest of an engine lies."""
    return Path(f"{engine}.json")


def manifest_text(plan: bytes, key: EngineKey) -> str:
    """Return the manifest of an engine that was just built."""
    content = {"format": FORMAT, "version": VERSION, "key": asdict(key), "sha256": hashlib.sha256(plan).hexdigest()}
    return json.dumps({**content, "seal": _seal(content)}, indent=2, sort_keys=True)


def trusted_plan(engine: Path, key: EngineKey) -> bytes:
    """Return the bytes of an engine, if it is ours, unchanged, and built for ``key``.

    Raises:
        InvalidModel: It is not; the message says why.
    """
    sealed = sealed_engine(engine)
    if found := key.differences(sealed.key):
        raise InvalidModel(f"it was built for another case: {'; '.join(found)}", place=str(engine), advice=_ADVICE)
    return sealed.plan


def sealed_engine(engine: Path) -> SealedEngine:
    """Return an engine, if it is ours and unchanged, whatever it was built for.

    Raises:
        InvalidModel: It is not; the message says why.
    """
    content = _read(manifest_of(engine), engine)
    seal = content.pop("seal", "")
    if not hmac.compare_digest(str(seal), _seal(content)):
        raise InvalidModel("its manifest was not written by you on this machine", place=str(engine), advice=_ADVICE)
    # What is hashed is what is taken: the file is read once.
    sealed = SealedEngine(EngineKey(**content["key"]), engine.read_bytes())
    if sealed.sha256 != content["sha256"]:
        raise InvalidModel("it was changed after it was built", place=str(engine), advice=_ADVICE)
    return sealed


def _read(path: Path, engine: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidModel("no manifest vouches for it", place=str(engine), advice=_ADVICE) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidModel(f"its manifest cannot be read: {error}", place=str(engine), advice=_ADVICE) from error
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (FORMAT, VERSION):
        raise InvalidModel("its manifest has another form", place=str(engine), advice=_ADVICE)
    return content


def _seal(content: dict[str, Any]) -> str:
    return hmac.new(_machine_key(), json.dumps(content, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _machine_key() -> bytes:
    """Return this user's key on this machine, drawn when it is first needed."""
    home = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(home) if home else Path.home() / ".local" / "state"
    path = folder / "trunkline" / "engine-seal"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            # Of two that begin at once, one creates it; the other reads it.
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _checked_key(path)
        with os.fdopen(handle, "wb") as file:
            key = secrets.token_bytes(_KEY_BYTES)
            file.write(key)
    except OSError as error:
        text = f"the key that seals engines cannot be kept: {error.strerror}"
        raise WorkFailed(text, place=str(path), advice="set XDG_STATE_HOME to a folder of your own") from error
    return key


def _checked_key(path: Path) -> bytes:
    facts = path.lstat()
    is_ours = stat.S_ISREG(facts.st_mode) and not facts.st_mode & _OTHERS
    # Windows has neither owners nor such modes.
    if os.name != "nt" and not (is_ours and facts.st_uid == os.getuid()):
        text = "others may read or write the key that seals engines"
        raise WorkFailed(text, place=str(path), advice="delete it; engines are then built again")
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise WorkFailed(
            "the key that seals engines is damaged", place=str(path), advice="delete it; engines are then built again"
        )
    return key
