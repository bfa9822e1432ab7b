"""Sail's own server over Spark Connect as a peer; see peer.py."""

import os

import peer
from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession

os.environ.setdefault("SAIL_EXECUTION__DEFAULT_PARALLELISM", str(peer.cores))
server = SparkConnectServer("127.0.0.1", 0)
server.start(background=True)
_, port = server.listening_address
spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
for table in peer.TABLES:
    spark.read.parquet(f"{peer.data}/{table}").createOrReplaceTempView(table)


def write(output):
    """Partitioned by order month, zstd."""
    rows = spark.sql(peer.SELECT.format(month="date_format(o_orderdate, 'yyyy-MM')"))
    rows.write.mode("overwrite").option("compression", "zstd(3)").partitionBy("o_month").parquet(output)


peer.main(lambda sql: spark.sql(sql).collect(), write)
