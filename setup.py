"""Packaging. ``run_lfads.py``, ``flags/`` and ``tools/`` are faces on the package in a checkout, not installed."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "lfads_tf2" / "__init__.py").read_text())[1]

setup(
    name="lfads-tf2",
    version=VERSION,
    description="LFADS and AutoLFADS on TensorFlow 2: single-trial firing rates from spike counts",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["lfads_tf2", "lfads_tf2.*"]),
    package_data={
        "lfads_tf2": ["py.typed"],
        "lfads_tf2.model.native": ["*.cc", "*.h"],
        "lfads_tf2.autolfads": ["presets/*.yaml"],
        "lfads_tf2.settings": ["presets/*.flags"],
    },
    entry_points={"console_scripts": ["lfads = lfads_tf2.program.command_line:main"]},
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Bio-Informatics",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.20",
        "tensorflow-probability>=0.25",
        "tf-keras>=2.20",
        "tensorboard>=2.20",
        "h5py>=3.11",
        "numpy>=1.26",
        "absl-py>=2.1",
        "PyYAML>=6",
        "tqdm>=4.66",
        "matplotlib>=3.8",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.20"],
        "ray": ["ray>=2.40"],
        "run_manager": ["scipy>=1.13", "scikit-learn>=1.4"],
        "nwb": ["pynwb>=2.8"],
        "io": ["pynapple>=0.8", "xarray>=2024.1", "pandas>=2.1", "scipy>=1.13"],
        "docs": ["mkdocs>=1.6,<2", "mkdocstrings[python]>=0.26", "nbclient>=0.10", "ipykernel>=6"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.8",
            "scipy>=1.13",
            "scikit-learn>=1.6",
            "nwbinspector>=0.6",
        ],
    },
)
