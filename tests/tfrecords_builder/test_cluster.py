"""The build on a Dask cluster that loses a worker in mid-build: the same bytes."""

import os
import signal

from builder_inputs import arguments, write_pairs

from landcover_tf.datasets.dataset_info import DatasetInfo
from tfrecords_builder.__main__ import main


def shard_sums(folder):
    info = DatasetInfo.load(folder)
    info.verify(folder)
    return {s.file: s.sha256 for split in info.splits.values() for s in split.shards}


def die_of_the_first_cut(mark):
    """In a worker: has the first one that wrote a cut die before it can tell of it."""
    from tfrecords_builder import cutting

    cut = cutting.cut

    def cut_and_die(job):
        done = cut(job)
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return done
        return os.kill(os.getpid(), signal.SIGKILL)

    cutting.cut = cut_and_die


def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(tmp_path):
    from distributed import Client, LocalCluster

    pairs = write_pairs(tmp_path / "data", scenes=4, size=1030)
    flags = ("--patch-size", 64, "--block-size-m", 1000, "--shard-size-mb", 8)
    assert main(arguments(pairs, tmp_path / "one", *flags)) == 0
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.run(die_of_the_first_cut, tmp_path / "killed")
        where = ("--scheduler", cluster.scheduler_address)
        before = set(client.run(os.getpid).values())
        assert main(arguments(pairs, tmp_path / "two", *flags, *where)) == 0
        client.wait_for_workers(2, timeout=60)
        assert len(before - set(client.run(os.getpid).values())) == 1
    assert shard_sums(tmp_path / "two") == shard_sums(tmp_path / "one")
    for name in ("patches.jsonl", "dropped.jsonl"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
