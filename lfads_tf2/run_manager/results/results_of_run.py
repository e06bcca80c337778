"""What can be read back from a run's folder, for runs of a collection and for folders of any origin."""

from __future__ import annotations

import logging
from pathlib import Path

from lfads_tf2.run_manager.loading import LoadError
from lfads_tf2.run_manager.recordings.input_info import InputInfo, read_input_info
from lfads_tf2.run_manager.results import load
from lfads_tf2.run_manager.results.export import export_runs
from lfads_tf2.session_results.files_of_run import result_files, sessions_with_results
from lfads_tf2.session_results.trial_order import HALVES

log = logging.getLogger("lfads_tf2")
STEM = "lfads_"


class ResultsOfRun:
    """Results of one run. Needs ``path``, ``input_path`` and ``output_path``."""

    path: Path
    input_path: Path
    output_path: Path

    def _session_files(self) -> dict[str, Path]:
        """Input file of each dataset, by the dataset's name."""
        return {d.name: self.input_path / f"{STEM}{d.name}.h5" for d in self.datasets}

    def _session_name(self, file: Path) -> str:
        """What the program calls a session."""
        return file.name.removeprefix(STEM)

    @property
    def _bin_ms(self) -> float | None:
        params = getattr(self, "params", None)
        return None if params is None else params.spikeBinMs

    def load_input_info(self, dataset: str) -> InputInfo | None:
        """What the run manager noted about a dataset, in either format; None where it noted nothing.

        Warns when the note belongs to other parameters.
        """
        for suffix in (".h5", ".mat"):
            path = self.input_path / f"inputInfo_{dataset}{suffix}"
            if path.exists():
                info = read_input_info(path)
                params = getattr(self, "params", None)
                if params is not None and info.data_hash not in ("", params.data_hash):
                    log.warning("%s was made for data_%s, not data_%s.", path, info.data_hash, params.data_hash)
                return info
        return None

    def load_posterior_means(
        self, datasets: list[str] | None = None, kind: str | None = None, reload: bool = False
    ) -> dict[str, load.PosteriorMeans]:
        """Posterior means of each dataset by name, read once.

        Args:
            datasets: names; None for all.
            kind: posterior_sample_and_average or posterior_push_mean; whichever is there otherwise.
            reload: read again.

        Raises:
            LoadError: a dataset without results.
        """
        cache = self.__dict__.setdefault("_posterior_means", {})
        found = {}
        files = self._session_files()
        for name in files if datasets is None else datasets:
            if name not in files:
                raise LoadError(f"{self.path} has no dataset {name!r}; it has {', '.join(files)}")
            key = (name, kind)
            if reload or key not in cache:
                file = files[name]
                info = self.load_input_info(name)
                session = self._session_name(file)
                cache[key] = load.posterior_means(self.output_path, session, file, info, kind, self._bin_ms)
            found[name] = cache[key]
        return found

    def check_posterior_means_exist(self, kind: str | None = None) -> bool:
        """Whether every dataset has posterior means of all its halves."""
        files = self._session_files()
        found = [result_files(self.output_path, self._session_name(file), kind)[1] for file in files.values()]
        return bool(found) and all(len(one) == len(HALVES) for one in found)

    def load_fit_log(self) -> load.FitLog:
        """Costs by epoch. Raises LoadError before training."""
        return load.fit_log(self.output_path)

    def load_trained_params(self) -> load.TrainedParams:
        """Trained weights with all datasets' read-outs. Raises LoadError before their export."""
        return load.trained_params(self.output_path)

    def export(self, path: Path | None = None) -> Path:
        """Posterior means, fit log and trained parameters in one HDF5 file, by default export/results.h5."""
        path = path or self.path / "export" / "results.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        return export_runs([self], path)


class RunFolder(ResultsOfRun):
    """Results in a folder of any origin: of either run manager, or of the original program alone.

    Args:
        path: a run's folder with lfadsInput and lfadsOutput, or the program's lfads_save_dir.
        data_dir: the program's data_dir, if it is not lfadsInput.
        data_filename_stem: of the input files.
        bin_ms: bin width of the model, where the files do not say.

    Raises:
        LoadError: the folder holds no results.
    """

    def __init__(
        self, path: str | Path, data_dir: str | Path | None = None, data_filename_stem: str = "lfads",
        bin_ms: float | None = None,
    ):  # fmt: skip
        self.path = Path(path)
        self.output_path = self.path / "lfadsOutput" if (self.path / "lfadsOutput").is_dir() else self.path
        self.input_path = Path(data_dir) if data_dir else self.path / "lfadsInput"
        self._prefix, self._bin = f"{data_filename_stem}_" if data_filename_stem else "", bin_ms
        self.name = self.path.name
        if not self._session_files():
            raise LoadError(
                f"{path} holds no results (model_runs_* of sessions) and no input; give a run's folder, or the "
                "program's lfads_save_dir together with data_dir and data_filename_stem"
            )

    @property
    def _bin_ms(self) -> float | None:
        return self._bin

    def _session_name(self, file: Path) -> str:
        return file.name.removeprefix(self._prefix)

    def _session_files(self) -> dict[str, Path]:
        files = {}
        for path in sorted(self.input_path.glob(f"{self._prefix}*")) if self.input_path.is_dir() else []:
            if path.is_file() and not path.name.startswith(("inputInfo_", "seq_", ".")):
                files[self._session_name(path).removesuffix(".h5")] = path
        for session in sessions_with_results(self.output_path) if not files else ():
            files[session.removesuffix(".h5")] = self.input_path / f"{self._prefix}{session}"
        return files
