"""What is reconstructed where it is not simply what the encoders read: the second and the third dialect.

Second: ``*_recon_data`` beside ``*_encod_data``, with the encoded channels first, and perhaps further channels
(held-out neurons) and further bins (forward prediction). Third (Neural Latents Benchmark): ``*_spikes_heldin``,
``_heldout``, ``_heldin_forward``, ``_heldout_forward``, which together are the target, with ``eval_spikes_*`` for
validation.
"""

from __future__ import annotations

from collections.abc import Callable

import h5py
import numpy as np

from lfads_tf2.data.arrays import has_shape
from lfads_tf2.data.blocks import same_content
from lfads_tf2.data.errors import by
from lfads_tf2.data.keys import SessionFile, name_of

HELD_IN = "spikes_heldin"
# The other parts of the third dialect's target, by the axis along which each goes on.
PARTS = ("spikes_heldout", "spikes_heldin_forward", "spikes_heldout_forward")

Parts = dict[str, np.ndarray | None]


def is_benchmark(data_key: str) -> bool:
    """Whether a key of the encoders' data is that of the third dialect."""
    return data_key.casefold().endswith(HELD_IN)


def target_of(file: SessionFile, data: h5py.Dataset, target_key: str) -> h5py.Dataset | None:
    """The second dialect's target; None when it is the data themselves, or (then a problem) does not fit them."""
    target = file.numbers(target_key)
    if target is None or not has_shape(file, target):
        return None
    if target.shape == data.shape and same_content(data, target):
        return None
    if target.shape[0] != data.shape[0] or any(t < d for t, d in zip(target.shape[1:], data.shape[1:], strict=True)):
        file.complain(
            target_key,
            f"has shape {by(target.shape)} and {name_of(data)} {by(data.shape)}; it needs the same trials and at least "
            "as many bins and channels, those that the encoders read first",
        )
        return None
    return target


def read_parts(file: SessionFile, data: h5py.Dataset, read: Callable) -> Parts:
    """The other parts of the third dialect's target for one half; absent ones are None."""
    parts: Parts = {}
    prefix = name_of(data)[: -len(HELD_IN)]
    for name in PARTS:
        dataset = file.numbers(prefix + name)
        parts[name] = None
        if dataset is None or not has_shape(file, dataset):
            continue
        # Held-out neurons share the bins of the held-in ones, forward bins of held-in neurons their channels.
        shared = {"spikes_heldout": slice(0, 2), "spikes_heldin_forward": slice(0, 3, 2)}.get(name, slice(0, 1))
        if dataset.shape[shared] != data.shape[shared]:
            must = {"spikes_heldout": "trials and bins", "spikes_heldin_forward": "trials and channels"}
            file.complain(
                name_of(dataset),
                f"has shape {by(dataset.shape)} and {name_of(data)} {by(data.shape)}; "
                f"{must.get(name, 'trials')} must be the same",
            )
        else:
            parts[name] = read(dataset)
    return parts


def check_parts(file: SessionFile, data_key: str, parts: Parts) -> None:
    """Notes it when the parts of the training target do not make up a rectangle."""
    held_out, forward, both = (parts[name] for name in PARTS)
    prefix = data_key[: -len(HELD_IN)]
    needed = {
        PARTS[1]: (both is not None and forward is None, PARTS[2]),
        PARTS[0]: (both is not None and held_out is None, PARTS[2]),
        PARTS[2]: (held_out is not None and forward is not None and both is None, f"{PARTS[0]} and the rest"),
    }
    for name, (missing, because) in needed.items():
        if missing and not any(problem.startswith(f"{file.path}: {prefix}{name}:") for problem in file.problems):
            file.complain(prefix + name, f"missing while {because} are there; store all parts of the target")
    if (
        not file.problems
        and both is not None
        and (both.shape[1] != forward.shape[1] or both.shape[2] != held_out.shape[2])
    ):
        file.complain(
            prefix + PARTS[2],
            f"has shape {by(both.shape)}; it needs the {forward.shape[1]} bins of {PARTS[1]} and the "
            f"{held_out.shape[2]} channels of {PARTS[0]}",
        )


def joined(held_in: np.ndarray, parts: Parts, like: Parts) -> np.ndarray | None:
    """Held-in data and the other parts as one target; None when there are none.

    Parts that the training half (``like``) has and this one lacks become NaN: not observed.
    """
    if all(part is None for part in like.values()):
        return None
    count = len(held_in)
    filled = [
        np.full((count, *like[name].shape[1:]), np.nan, np.float32)
        if parts[name] is None and like[name] is not None
        else parts[name]
        for name in PARTS
    ]
    observed = held_in if filled[0] is None else np.concatenate([held_in, filled[0]], axis=2)
    if filled[1] is None:
        return observed
    forward = filled[1] if filled[2] is None else np.concatenate([filled[1], filled[2]], axis=2)
    return np.concatenate([observed, forward], axis=1)
