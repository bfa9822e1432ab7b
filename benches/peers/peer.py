"""What the peers' scripts share. Arguments: DATA CORES MEMORY_GIB (tpch QUERY_DIRECTORY | etl OUTPUT)."""

import glob
import json
import os
import sys
import time

TABLES = ["region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem"]
SELECT = """
SELECT l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_tax, l_returnflag,
       l_linestatus, l_shipdate, l_shipmode, o_orderdate, o_orderpriority, o_totalprice, c_custkey, c_name, c_mktsegment,
       {month} AS o_month
FROM lineitem JOIN orders ON l_orderkey = o_orderkey JOIN customer ON o_custkey = c_custkey
"""

data, cores, memory_gib = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def measure(name, action):
    """Runs an action and prints its time, or why it failed."""
    started = time.monotonic()
    try:
        action()
        print(json.dumps({"name": name, "seconds": time.monotonic() - started}), flush=True)
    except Exception as error:  # whatever a peer raises is its result
        print(json.dumps({"name": name, "error": str(error).split("\n")[0][:200]}), flush=True)


def main(query, write):
    """query(sql) fetches all rows; write(output) does the ETL write."""
    if sys.argv[4] == "etl":
        measure("etl write", lambda: write(sys.argv[5]))
        return
    files = glob.glob(os.path.join(sys.argv[5], "q*.sql"))
    for file in sorted(files, key=lambda f: int(os.path.basename(f)[1:-4])):
        with open(file, encoding="utf-8") as text:
            sql = text.read().strip().rstrip(";")
        measure(os.path.basename(file)[:-4], lambda sql=sql: query(sql))
