-- Revenue by month, nation and market segment, from TPC-H's orders.
--
-- The block of comments at the top is the header: a name, and the parameters with their types. What is not declared here
-- cannot be given, and what has no default must be. Run it with:
--
--   selvedge run jobs/tpch_revenue_mart.sql -p data=/data/tpch -p mart=/data/mart
--   selvedge submit --wait jobs/tpch_revenue_mart.sql -p data=s3://lake/tpch -p mart=s3://lake/mart \
--       -p from_date=1995-01-01 -p to_date=1995-12-31
--
-- @job tpch_revenue_mart
-- @param data string
-- @param mart string
-- @param from_date date = 1992-01-01
-- @param to_date date = 1998-12-31

-- The sources: a directory of Parquet files each. The columns are read from the files.
CREATE EXTERNAL TABLE IF NOT EXISTS customer STORED AS PARQUET LOCATION '{{ data }}/customer/';
CREATE EXTERNAL TABLE IF NOT EXISTS nation STORED AS PARQUET LOCATION '{{ data }}/nation/';
CREATE EXTERNAL TABLE IF NOT EXISTS orders STORED AS PARQUET LOCATION '{{ data }}/orders/';
CREATE EXTERNAL TABLE IF NOT EXISTS lineitem STORED AS PARQUET LOCATION '{{ data }}/lineitem/';

-- The mart: nothing is there before the first run, so its columns are declared. The partition column comes last; its values
-- become directories (month=1995-03/), which Presto, Spark, DuckDB and Polars read.
CREATE EXTERNAL TABLE IF NOT EXISTS revenue_mart (
    nation          STRING,
    market_segment  STRING,
    orders          BIGINT,
    customers       BIGINT,
    items           BIGINT,
    revenue         DECIMAL(38, 2),
    month           STRING
)
STORED AS PARQUET
PARTITIONED BY (month)
LOCATION '{{ mart }}/revenue_mart/';

-- Replaces the months that the result has rows in, and no other: running a month again replaces it, and never doubles it.
-- Nothing is visible before the last task has succeeded.
INSERT OVERWRITE revenue_mart
SELECT
    n.n_name                                                              AS nation,
    c.c_mktsegment                                                        AS market_segment,
    count(DISTINCT o.o_orderkey)                                          AS orders,
    count(DISTINCT c.c_custkey)                                           AS customers,
    count(*)                                                              AS items,
    CAST(sum(l.l_extendedprice * (1 - l.l_discount)) AS DECIMAL(38, 2))   AS revenue,
    to_char(o.o_orderdate, '%Y-%m')                                       AS month
FROM lineitem l
JOIN orders o ON l.l_orderkey = o.o_orderkey
JOIN customer c ON o.o_custkey = c.c_custkey
JOIN nation n ON c.c_nationkey = n.n_nationkey
WHERE o.o_orderdate BETWEEN DATE '{{ from_date }}' AND DATE '{{ to_date }}'
GROUP BY n.n_name, c.c_mktsegment, to_char(o.o_orderdate, '%Y-%m');

-- A SELECT's first rows are kept with the run: here, the best months.
SELECT month, sum(orders) AS orders, sum(items) AS items, sum(revenue) AS revenue
FROM revenue_mart
GROUP BY month
ORDER BY revenue DESC, month
LIMIT 10;
