"""Spark in local mode as a peer; see peer.py."""

import peer
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.master(f"local[{peer.cores}]")
    .config("spark.driver.memory", f"{peer.memory_gib}g")
    .config("spark.sql.shuffle.partitions", str(peer.cores * 4))
    .config("spark.ui.enabled", "false")
    .config("spark.sql.parquet.compression.codec", "zstd")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
for table in peer.TABLES:
    spark.read.parquet(f"file://{peer.data}/{table}").createOrReplaceTempView(table)


def write(output):
    """Partitioned by order month, zstd."""
    rows = spark.sql(peer.SELECT.format(month="date_format(o_orderdate, 'yyyy-MM')"))
    rows.write.mode("overwrite").partitionBy("o_month").parquet(f"file://{output}")


peer.main(lambda sql: spark.sql(sql).collect(), write)
