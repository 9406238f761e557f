"""Weights under names of any kind.

An ONNX name may be anything: ``conv/weight:0``, ``a`` beside ``a.b``, ``training``. A torch attribute may not.
So a :class:`WeightStore` keeps each tensor under a safe attribute name of its own making, and translates in
``state_dict`` and ``load_state_dict``, whose keys are exactly the ONNX names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trunkline.errors import InvalidModel, Problem, did_you_mean
from trunkline.graph.unique_names import UniqueNames
from trunkline.text import shape_text
from trunkline.twins.initial_weights import view_of


class WeightStore(nn.Module):
    """A module that owns tensors by ONNX name: parameters, running statistics, and constants."""

    def __init__(self) -> None:
        super().__init__()
        self._attribute: dict[str, str] = {}
        self._constants: dict[str, str] = {}
        self._attribute_names = UniqueNames()

    def keep_parameter(self, name: str, tensor: Tensor) -> None:
        """Store a tensor that gradients change."""
        self._attribute[name] = self._safe(name)
        self.register_parameter(self._attribute[name], nn.Parameter(tensor))

    def keep_statistic(self, name: str, tensor: Tensor) -> None:
        """Store a tensor that training changes without gradients; it is saved with the parameters."""
        self._attribute[name] = self._safe(name)
        self.register_buffer(self._attribute[name], tensor)

    def keep_constant(self, name: str, tensor: Tensor) -> None:
        """Store a tensor that never changes; it moves with the module, but is not saved."""
        self._constants[name] = self._safe(name)
        self.register_buffer(self._constants[name], tensor, persistent=False)

    def tensor(self, name: str) -> Tensor:
        """Return the stored tensor called ``name``; raises ``KeyError``."""
        attribute = self._attribute.get(name) or self._constants[name]
        found: Tensor = getattr(self, attribute)
        return found

    def weights(self) -> dict[str, Tensor]:
        """Return parameters and statistics by ONNX name, detached; they share memory with the module."""
        return {name: self.tensor(name).detach() for name in self._attribute}

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters by ONNX name."""
        tensors = ((name, self.tensor(name)) for name in self._attribute)
        return {name: tensor for name, tensor in tensors if isinstance(tensor, nn.Parameter)}

    def load_weights(self, weights: Mapping[str, np.ndarray[Any, Any] | Tensor], *, strict: bool = True) -> None:
        """Copy these tensors in, by ONNX name, keeping each weight's type and device.

        Args:
            weights: Content by ONNX name; shapes must agree exactly.
            strict: Whether every weight must be given.

        Raises:
            InvalidModel: A name is unknown or missing, or a shape differs; nothing is changed then.
        """
        own = self.weights()
        problems = [*_unknown(weights, own), *_misshapen(weights, own)]
        if strict:
            problems += _missing(weights, own)
        if problems:
            raise InvalidModel(problems)
        with torch.no_grad():
            for name, content in weights.items():
                own[name].copy_(content if isinstance(content, Tensor) else view_of(content))

    def _safe(self, name: str) -> str:
        if name in self._attribute or name in self._constants:
            raise ValueError(f"weight {name!r} is already stored")
        # The prefix keeps clear of nn.Module's own attributes: a weight may be called `training`. Names that differ
        # only in such characters (`a.b`, `a/b`) meet here, and are numbered.
        return self._attribute_names.take("w_" + re.sub(r"\W", "_", name))

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        own: dict[str, Any] = {}
        super()._save_to_state_dict(own, "", keep_vars)
        names = {attribute: name for name, attribute in self._attribute.items()}
        destination.update({prefix + names.get(key, key): content for key, content in own.items()})

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take what is ours out of ``state_dict``, so that no child mistakes a dotted name for its own."""
        found = {}
        for name, attribute in self._attribute.items():
            if prefix + name in state_dict:
                # torch hands in a copy of the caller's mapping, so taking a tensor out changes nothing for the caller.
                found[prefix + attribute] = state_dict.pop(prefix + name)
        missing: list[str] = []
        super()._load_from_state_dict(
            {**state_dict, **found}, prefix, local_metadata, strict, missing, unexpected_keys, error_msgs
        )
        # torch reports attributes; users know only the ONNX names.
        names = {prefix + attribute: prefix + name for name, attribute in self._attribute.items()}
        missing_keys.extend(names.get(key, key) for key in missing)


def _unknown(given: Mapping[str, Any], own: Mapping[str, Tensor]) -> list[Problem]:
    return [Problem("the model has no such weight", name, did_you_mean(name, own)) for name in given if name not in own]


def _misshapen(given: Mapping[str, Any], own: Mapping[str, Tensor]) -> list[Problem]:
    problems = []
    for name, content in given.items():
        if name in own and tuple(content.shape) != tuple(own[name].shape):
            text = f"the shape is {shape_text(content.shape)}, but the model needs {shape_text(own[name].shape)}"
            problems.append(Problem(text, name))
    return problems


def _missing(given: Mapping[str, Any], own: Mapping[str, Tensor]) -> list[Problem]:
    return [Problem("the weight is missing", name) for name in own if name not in given]
