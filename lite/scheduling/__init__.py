"""Scheduling: per-token and per-block integer bookkeeping, compiled; no floats, clocks or models.

After an edit: `python setup.py build_ext --inplace`; with every run-time check:
`LITE_CYTHON_DEBUG=1 python setup.py build_ext --inplace --force`.
"""

try:
    from lite.scheduling.batch import Batch
    from lite.scheduling.scheduler import Scheduler
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error}: the Cython modules are not built; run `make build` in the checkout, or "
        "`pip install .`"
    ) from error

# The reasons in the second column of what Scheduler.update() returns.
FINISHED_STOP = 0
FINISHED_LENGTH = 1

__all__ = ["FINISHED_LENGTH", "FINISHED_STOP", "Batch", "Scheduler"]
