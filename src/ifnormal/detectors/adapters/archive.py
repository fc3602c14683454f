"""What kind of file a `.pt2` or `.pt` is, told by the names inside it and without loading it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from ifnormal.common.errors import UserError

Kind = Literal["exported program", "torchscript", "pickle"]

PICKLES = (".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".bin", ".pt.tar")


def kind_of(path: Path) -> Kind:
    """The kind of a file that torch wrote.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; name the file of a model.")
    if not zipfile.is_zipfile(path):
        return "pickle"  # torch's own format before version 1.6, and every other
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}); export it again.") from None
    if "archive_format" in names or "serialized_exported_program.json" in archive.namelist():
        return "exported program"
    return "torchscript" if "constants.pkl" in names else "pickle"


def refuse_pickle(path: str | Path) -> UserError:
    """What to say of a file that only unpickling could load."""
    return UserError(
        f"{path} holds pickled Python objects or bare weights, which ifnormal never loads, because "
        "unpickling runs whatever code the file contains; export the model with torch.export.save "
        "(.pt2) or to ONNX, or build it in a module of yours and name package.module:attribute."
    )


def require_trust(spec: str, trust: bool, why: str) -> None:
    """Refuse a file that runs code when it is loaded, unless the user trusts it.

    Raises:
        UserError: it is not trusted.
    """
    if not trust:
        raise UserError(
            f"{spec} needs trust, because {why}; if it comes from someone you trust, give --trust "
            "(in Python trust=True)."
        )
