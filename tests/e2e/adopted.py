"""Writes a Delta table with the deltalake package: {1: a URL, 2: whether to checkpoint}. Partition values are odd on purpose."""

import json
import sys

import deltalake
import pyarrow as pa

options, url, checkpoint = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3] == "true"
regions = ["plain", "two words", "a/b", "50%", "ü=ö", None, "x:y?z", "tab\there"]


def batch(first, value):
    ids = list(range(first, first + len(regions)))
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "value": pa.array([value] * len(ids)),
            "at": pa.array([1_700_000_000_000_000 + i for i in ids], pa.timestamp("us", "UTC")),
            "price": pa.array([None if i % 3 == 0 else i * 1.5 for i in ids], pa.float64()),
            "region": pa.array(regions),
            "day": pa.array([None if i % 4 == 0 else 20_000 + i for i in ids], pa.int32()).cast(pa.date32()),
        }
    )


deltalake.write_deltalake(url, batch(0, "first"), partition_by=["region", "day"], storage_options=options)
for number in range(1, 4):
    deltalake.write_deltalake(url, batch(number * 100, f"more {number}"), mode="append", storage_options=options)
table = deltalake.DeltaTable(url, storage_options=options)
table.delete("id = 101")
if checkpoint:
    table.create_checkpoint()
    deltalake.write_deltalake(url, batch(900, "after"), mode="append", storage_options=options)
