"""The original's stitched case through files that the run manager prepared."""

from __future__ import annotations

import dataclasses

import numpy as np
from golden_case import GoldenCase

from lfads_tf2.data import read_sessions
from lfads_tf2.model.affine import align
from lfads_tf2.model.names import file_key, original_names
from lfads_tf2.run_manager import Dataset, DatasetCollection, Run, RunCollection, RunParams, RunSpec
from lfads_tf2.run_manager.preparation.alignment import Alignment


def test_prepared_files_give_the_originals_maps_and_data(tmp_path):
    case = GoldenCase("c7")
    inputs = {name: case.results(f"inputs/{name}") for name in case.names}
    matrices = [inputs[name]["alignment_matrix_cxf"] for name in case.names]
    biases = [inputs[name]["alignment_bias_c"] for name in case.names]

    class GoldenRun(Run):
        def prepare_alignment_matrices(self, sessions):
            return Alignment(
                matrices,
                biases,
                [m.T for m in matrices],
                biases,
                np.zeros((1, 1, 3)),
                [np.zeros((1, 1, 3))] * 2,
                [None] * 2,
            )

    sessions = DatasetCollection("here", "golden")
    for name in case.names:
        counts = inputs[name]["data"].swapaxes(1, 2)
        Dataset(sessions, name=name, data={"counts": counts, "condition_id": np.ones(len(counts))})
    runs = RunCollection(tmp_path, "golden", sessions)
    runs.add_run_spec(RunSpec("all", sessions, run_class=GoldenRun))
    runs.add_params(RunParams(spikeBinMs=1, c_factors_dim=3, useAlignmentMatrix=True, alignmentBias="meanCount"))
    runs.prepare_for_lfads()
    hp = dataclasses.replace(case.hp, data_dir=str(runs.runs[0, 0].input_path), data_filename_stem="lfads")
    read = read_sessions(hp)
    model = case.model()
    for weight in original_names(model).values():
        weight.assign(np.zeros(weight.shape, np.float32))
    align(model.read_in, model.observation.mean_map, read)
    named = original_names(model)
    for session, name in zip(read, case.names, strict=True):
        whole = np.empty(inputs[name]["data"].shape, np.int64)
        for trials in (session.train, session.valid):
            whole[trials.indices] = trials.data
        np.testing.assert_array_equal(whole, inputs[name]["data"])
        for part in ("x_2_infac", "glm/fac_2_logrates"):
            for kind in ("W", "b"):
                key = f"LFADS/{part}_{name}/{kind}:0"
                recorded = case.params[file_key(key)]
                np.testing.assert_allclose(named[key].numpy(), recorded, rtol=1e-6, atol=1e-7, err_msg=key)
