"""A Ray cluster of two nodes with a processor each, on the loopback address, until standard input ends."""

from __future__ import annotations

import sys

from ray.cluster_utils import Cluster


def main() -> None:
    """Print the address and wait."""
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    needless = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    cluster = Cluster(initialize_head=True, head_node_args={**node, **needless})
    cluster.add_node(**node, include_log_monitor=False)
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
