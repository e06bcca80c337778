"""From a lab's own file to trials for LFADS, and the way back: one core, and a thin reader for each format."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lfads_tf2.recordings.cutting import Cut, cut
from lfads_tf2.recordings.python_objects import recording_of
from lfads_tf2.recordings.reading import read
from lfads_tf2.recordings.recording import RecordingData, RecordingError
from lfads_tf2.recordings.trial_tables import with_trials
from lfads_tf2.recordings.trials import CutOptions

__all__ = ["Cut", "CutOptions", "Recording", "RecordingError"]


class Recording(RecordingData):
    """One recording session, from a file or from what other packages hold. See RecordingData for its parts."""

    @classmethod
    def read(cls, path: str | Path, trials: Any = None, **options: Any) -> Recording:
        """A recording of any kind of file: NWB, phy folder, .npz, .npy, .mat, HDF5.

        Args:
            path: of the file, or of the folder of a spike sorter.
            trials: a table of trials, as ``of`` takes it.
            options: ``key`` (name of the array), ``axes`` (such as "time,units"), ``bin_ms`` of stored counts,
                ``time_unit`` of spike times in arrays ("s" or "ms"), ``groups`` of a sorter, ``behavior`` (names of
                time series to read), ``allow_outside_files`` (links of an NWB file may leave its folder).

        Raises:
            RecordingError: it cannot be read.
        """
        return cls._from(with_trials(read(Path(path).expanduser(), **options), trials))

    @classmethod
    def of(cls, value: Any, bin_ms: float | None = None, axes: str = "", trials: Any = None) -> Recording:
        """A recording of what other packages hold, none of which is imported.

        Args:
            value: a dict of spike times (seconds) by unit, a pynapple TsGroup, neo SpikeTrains, a SpikeInterface
                sorting, a pandas DataFrame or xarray DataArray of counts, an array, a list of units' spike times, a
                list of trials' counts, or of each trial a list of units' spike times relative to it.
            bin_ms: bin width of counts, where the value does not say. Labels of the axis of time say it, and when the
                recording begins, where they are floats (seconds) or timedeltas of the bins' middles; whole numbers and
                dates say neither.
            axes: of counts, such as "time,units" or "trials,time,units".
            trials: when trials were, for activity of a whole session: a DataFrame or a dict of equally long vectors,
                or one vector of times, which is then called ``start_time``. ``start_time``, ``stop_time`` and columns
                to align to are in seconds on the clock of the spikes; others may be conditions.

        Raises:
            RecordingError: it is none of these, or the table of trials does not fit.
        """
        return cls._from(with_trials(recording_of(value, bin_ms, axes), trials))

    @classmethod
    def _from(cls, data: RecordingData) -> Recording:
        return cls(**{field.name: getattr(data, field.name) for field in dataclasses.fields(data)})

    def cut(self, **options: Any) -> Cut:
        """Trials of equal length, as a ``Cut`` that shows what was left out and writes the program's file.

        Args:
            options: fields of ``CutOptions``, such as ``align="go", window=(-250, 450), bin_ms=10``.

        Raises:
            RecordingError: an option does not fit the recording, or nothing is left.
        """
        return cut(self, CutOptions.of(options))
