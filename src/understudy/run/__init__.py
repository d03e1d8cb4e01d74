"""The run directory: the only thing that evaluation, export, reports and studies read."""

from understudy.core_count import cores
from understudy.run.classifier import PICTURE_STEP_S, PICTURE_WINDOW_S, RunClassifier
from understudy.run.directory import (
    Run,
    open_run,
    read_manifest_file,
    write_manifest_file,
)
from understudy.run.environment import describe_environment
from understudy.run.files import (
    json_text,
    read_json,
    write_bytes,
    write_files,
    write_json,
    write_text,
)
from understudy.run.lock import writing
from understudy.run.making import TRACKED, create_run, new_run
from understudy.run.output import refuse_other_than_file, write_output
from understudy.run.weights import contiguous_state, load_weights, save_weights

__all__ = [
    "PICTURE_STEP_S",
    "PICTURE_WINDOW_S",
    "TRACKED",
    "Run",
    "RunClassifier",
    "contiguous_state",
    "cores",
    "create_run",
    "describe_environment",
    "json_text",
    "load_weights",
    "new_run",
    "open_run",
    "read_json",
    "read_manifest_file",
    "refuse_other_than_file",
    "save_weights",
    "write_bytes",
    "write_files",
    "write_json",
    "write_manifest_file",
    "write_output",
    "write_text",
    "writing",
]
