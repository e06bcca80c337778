"""AutoLFADS: many models train at once, good ones replace bad ones, and hyperparameters move while they train.

Jaderberg et al. 2017 (population-based training), Keshtkaran et al. 2022 (AutoLFADS). The search itself (``config``,
``explore``, ``generations``, ``population``) knows neither TensorFlow nor Ray; ``slot``, ``ray_slots`` and ``batched``
train.
"""
