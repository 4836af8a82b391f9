"""What two processes know of one run: ``python records.py FOLDER`` leaves ``FOLDER/0.json`` and ``1.json``.

The run is on the images below ``FOLDER``; ``reads`` counts those that a process has opened. Then the
first one cannot read one of them, and ``error`` is what each process says; ``refused``, where the second
one has other samples than the first.
"""

import json
import multiprocessing
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from together import _free_port

from monai_ima import distributed
from monai_ima.data import content
from monai_ima.handlers.run_record import RunRecord


def _process(rank, folder):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    distributed.join("cpu")
    read, of_files = [], content._of_files
    content._of_files = lambda image: read.append(image) or of_files(image)
    items = [
        {"image": str(path), "id": path.name, "label": 0} for path in sorted(folder.glob("?.png"))
    ]
    datalist = SimpleNamespace(
        training=items[2:], validation=items[:1], test=items[1:2], classes="A"
    )
    record = RunRecord.of({"seed": 1}, {}, datalist)
    found = {"reads": len(read), "run": record.run, "identity": record.identity}
    datalist.test = [{"image": str(folder / "missing"), "id": "missing", "label": 0}]
    try:
        RunRecord.of({}, {}, datalist)
    except OSError as error:
        found["error"] = str(error)
    copies = {
        "names": [{**items[1], "id": f"of {rank}"}],
        "labels": [{**items[1], "label": rank}],
        "number": items[: 1 + rank],
        "sizes": [{**items[1], "image": str(folder / f"{'long' if rank else '1'}.png")}],
    }
    found["refused"] = {}
    for name, datalist.test in copies.items():
        with pytest.raises(ValueError, match="expected the same samples") as caught:
            RunRecord.of({}, {}, datalist)
        found["refused"][name] = str(caught.value)
    (folder.parent / f"{rank}.json").write_text(json.dumps(found))
    distributed.leave()


if __name__ == "__main__":
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(_free_port())}
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=_process, args=(r, Path(sys.argv[1]))) for r in range(2)]
    for each in started:
        each.start()
    for each in started:
        each.join()
