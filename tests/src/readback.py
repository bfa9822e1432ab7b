"""Reads {sql, sources, endpoint, key, secret} from stdin, runs the SQL in DuckDB over pyarrow datasets, prints JSON rows.

A source is a directory of Parquet files, or with "delta" a table whose log the deltalake package reads."""

import datetime
import json
import sys

import duckdb
import pyarrow.dataset
import pyarrow.fs


def text(value):
    """A cell as Arrow's own formatter writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return str(value)


request = json.load(sys.stdin)
s3 = None
if request["endpoint"]:
    s3 = pyarrow.fs.S3FileSystem(
        access_key=request["key"],
        secret_key=request["secret"],
        endpoint_override=request["endpoint"],
        region="us-east-1",
    )
database = duckdb.connect()
# A bar would stand in the answer.
database.execute("SET enable_progress_bar = false")
for source in request["sources"]:
    location, filesystem = source["location"], None
    if source["delta"]:
        import deltalake

        options = None
        if location.startswith("s3://"):
            options = {
                "AWS_ACCESS_KEY_ID": request["key"],
                "AWS_SECRET_ACCESS_KEY": request["secret"],
                "AWS_ENDPOINT_URL": request["endpoint"],
                "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true",
            }
        delta = deltalake.DeltaTable(location, version=source["version"], storage_options=options)
        database.register(source["name"], delta.to_pyarrow_table())
        continue
    if location.startswith("s3://"):
        location, filesystem = location[len("s3://") :], s3
    table = pyarrow.dataset.dataset(location, format="parquet", filesystem=filesystem, partitioning="hive").to_table()
    database.register(source["name"], table)
cursor = database.execute(request["sql"])
answer = {
    "columns": [column[0] for column in cursor.description],
    "rows": [[text(cell) for cell in row] for row in cursor.fetchall()],
}
json.dump(answer, sys.stdout)
