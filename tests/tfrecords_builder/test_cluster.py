"""The build on a Dask cluster that loses a worker in mid-build: the same bytes."""

import os

from builder_inputs import arguments, write_pairs
from fakes.killed_worker import killing

from landcover_tf.datasets.dataset_info import DatasetInfo
from tfrecords_builder.__main__ import main


def shard_sums(folder):
    info = DatasetInfo.load(folder)
    info.verify(folder)
    return {s.file: s.sha256 for split in info.splits.values() for s in split.shards}


def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(tmp_path):
    from distributed import Client, LocalCluster

    pairs = write_pairs(tmp_path / "data", scenes=4, size=1030)
    flags = ("--patch-size", 64, "--block-size-m", 1000, "--shard-size-mb", 8)
    assert main(arguments(pairs, tmp_path / "one", *flags)) == 0
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        with Client(cluster, set_as_default=False) as client:
            workers = sorted(client.run(os.getpid).values())

        def worker_of_a_begun_build() -> int | None:
            begun = any((tmp_path / "two" / ".build").glob("*/cut-*.json"))
            return workers[0] if begun else None

        where = ("--scheduler", cluster.scheduler_address)
        with killing(worker_of_a_begun_build) as killed:
            assert main(arguments(pairs, tmp_path / "two", *flags, *where)) == 0
    assert killed == workers[:1]
    assert shard_sums(tmp_path / "two") == shard_sums(tmp_path / "one")
    for name in ("patches.jsonl", "dropped.jsonl"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
