"""DuckDB as a peer; see peer.py."""

import duckdb

import peer

connection = duckdb.connect()
connection.execute(f"SET threads = {peer.cores}; SET memory_limit = '{peer.memory_gib}GB'")
for table in peer.TABLES:
    connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{peer.data}/{table}/*.parquet')")


def write(output):
    """Partitioned by order month, zstd."""
    select = peer.SELECT.format(month="strftime(o_orderdate, '%Y-%m')")
    connection.execute(
        f"COPY ({select}) TO '{output}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (o_month), OVERWRITE_OR_IGNORE)"
    )


peer.main(lambda sql: connection.execute(sql).fetchall(), write)
