"""Ray, on a cluster of several nodes in this machine: run with ``make ray``."""

import os
import random
import signal
import threading
from dataclasses import replace

import pytest
from helpers.catalogues import make_catalogue, marks, stems

from openunmix.catalogue import Settings, _ray, separate_row
from openunmix.catalogue._ray import separate_with_ray

pytestmark = [
    pytest.mark.ray,
    # Ray's own: sockets and processes that it leaves to the garbage collector. Ours: old names.
    pytest.mark.filterwarnings("ignore", "error:.*will be removed in Ray"),
]


@pytest.fixture
def cluster():
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def test_a_cluster_separates_all_although_a_node_vanishes(tmp_path, tiny_separator, cluster):
    cluster, nodes = cluster
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 60)
    calm = replace(settings, output=str(tmp_path / "calm"))
    for row in rows:
        separate_row(row, calm)
    killer = threading.Timer(20, cluster.remove_node, (random.Random(0).choice(nodes), False))
    records = []
    for record in separate_with_ray(rows, settings, None, processes=3):
        if not records:
            killer.start()
        records.append(record)
    killer.join()
    assert {record["status"] for record in records} <= {"done", "skipped"}
    done = marks(settings.output)
    again = [separate_row(row, settings)["status"] for row in rows]
    assert set(again) == {"skipped"}  # none was lost, and none is done twice
    assert marks(settings.output) == done
    assert stems(settings.output) == stems(calm.output)


def test_a_song_that_kills_every_process_is_given_up(
    tmp_path, tiny_separator, cluster, monkeypatch
):
    class Deadly(Settings):
        @property
        def stream_config(self):
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(_ray, "_ATTEMPTS", 2)
    rows, settings = make_catalogue(tmp_path, tiny_separator(), 1)
    (record,) = separate_with_ray(rows, Deadly(**vars(settings)), None, processes=1)
    assert record["status"] == "failed"
    assert "its process ended again and again" in record["error"]
