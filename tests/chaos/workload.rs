//! The statements that the suite runs, and what must be there when they have run, or have failed.
//!
//! What is expected is SQL over the source tables, for single-process DataFusion. Tables that were written are read back by
//! engines that share no code with ours.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use selvedge_tests::readback::{Source, duckdb};
use selvedge_tests::rows::{Order, Rows};
use selvedge_tests::seaweed::S3Access;
use selvedge_tests::{Outcome, fail};

use super::stage::ORACLE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Join,
    Window,
    Sort,
    Distinct,
    OverwriteFiles,
    CreateManaged,
    AppendManaged,
    OverwriteManaged,
    MergeManaged,
}

/// Where a statement writes.
#[derive(Debug, Clone)]
pub struct Place {
    pub table: String,
    pub location: String,
    /// The keys of its objects in the bucket begin with this.
    pub prefix: String,
}

const JOIN: &str = "\
SELECT c_mktsegment, date_trunc('month', o_orderdate) AS month, count(*) AS lines, sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM lineitem JOIN orders ON l_orderkey = o_orderkey JOIN customer ON o_custkey = c_custkey GROUP BY 1, 2";

const WINDOW: &str = "\
SELECT * FROM (
  SELECT o_custkey, o_orderkey, row_number() OVER w AS place, sum(o_totalprice) OVER w AS running,
         lag(o_orderkey) OVER w AS before
  FROM orders WINDOW w AS (PARTITION BY o_custkey ORDER BY o_orderdate, o_orderkey))
WHERE place <= 3";

const SORT: &str = "\
SELECT l_extendedprice, l_orderkey, l_linenumber FROM lineitem WHERE l_quantity > 40
ORDER BY l_extendedprice DESC, l_orderkey, l_linenumber";

const DISTINCT: &str = "\
SELECT o_orderpriority, count(DISTINCT l_suppkey) AS suppliers, count(DISTINCT l_partkey) AS parts, max(l_shipdate) AS last
FROM lineitem JOIN orders ON l_orderkey = o_orderkey GROUP BY o_orderpriority";

const COLUMNS: &str = "l_orderkey, l_linenumber, l_extendedprice, o_totalprice, l_shipmode";
const LINES: &str = "\
SELECT l_orderkey, l_linenumber, l_extendedprice, o_totalprice, l_shipmode
FROM lineitem JOIN orders ON l_orderkey = o_orderkey WHERE l_quantity > 40";
/// Rows that are there before, in partitions that `LINES` has rows in, too.
const OLD: &str = "\
SELECT l_orderkey, l_linenumber, l_extendedprice, l_extendedprice AS o_totalprice, l_shipmode FROM lineitem WHERE l_orderkey < 200";
/// And in a partition that it has none in.
const KEPT: &str = "\
SELECT l_orderkey, l_linenumber, l_extendedprice, l_extendedprice AS o_totalprice, 'BY FOOT' AS l_shipmode FROM lineitem WHERE l_orderkey < 99";

const TOTALS: &str = "\
SELECT o_custkey AS id, sum(o_totalprice) AS total, max(o_orderpriority) AS status FROM orders GROUP BY o_custkey";
const ORDERS: &str =
    "SELECT o_orderkey AS id, o_totalprice AS total, o_orderstatus AS status FROM orders WHERE o_custkey % 2 = 0";
const CHANGES: &str = "\
SELECT o_orderkey AS id, CAST(sum(l_extendedprice) AS DECIMAL(15, 2)) AS total, min(o_custkey) % 2 AS odd
FROM orders JOIN lineitem ON o_orderkey = l_orderkey WHERE o_custkey % 3 = 0 GROUP BY o_orderkey";

impl Work {
    pub const ALL: [Self; 9] = [
        Self::Join,
        Self::Window,
        Self::Sort,
        Self::Distinct,
        Self::OverwriteFiles,
        Self::CreateManaged,
        Self::AppendManaged,
        Self::OverwriteManaged,
        Self::MergeManaged,
    ];

    /// What makes the table as it is before.
    pub fn setup(self, place: &Place) -> String {
        let Place { table, location, .. } = place;
        match self {
            Self::OverwriteFiles => format!(
                "CREATE EXTERNAL TABLE {table} (l_orderkey BIGINT, l_linenumber INT, l_extendedprice DECIMAL(15, 2),
                   o_totalprice DECIMAL(15, 2), l_shipmode VARCHAR)
                 STORED AS PARQUET PARTITIONED BY (l_shipmode) LOCATION '{location}';
                 INSERT INTO {table} {OLD} UNION ALL {KEPT};"
            ),
            Self::AppendManaged => format!("CREATE TABLE {table} LOCATION '{location}' AS {OLD};"),
            Self::OverwriteManaged => format!(
                "CREATE TABLE {table} (id BIGINT, total DECIMAL(25, 2), status VARCHAR) LOCATION '{location}';
                 INSERT INTO {table} {ORDERS};"
            ),
            Self::MergeManaged => format!("CREATE TABLE {table} LOCATION '{location}' AS {ORDERS};"),
            _ => String::new(),
        }
    }

    /// The statement that runs while things break.
    pub fn statement(self, place: &Place) -> String {
        let Place { table, location, .. } = place;
        match self {
            Self::Join => JOIN.to_owned(),
            Self::Window => WINDOW.to_owned(),
            Self::Sort => SORT.to_owned(),
            Self::Distinct => DISTINCT.to_owned(),
            Self::OverwriteFiles => format!("INSERT OVERWRITE {table} {LINES}"),
            Self::CreateManaged => {
                format!("CREATE TABLE {table} PARTITIONED BY (l_shipmode) LOCATION '{location}' AS {LINES}")
            }
            Self::AppendManaged => format!("INSERT INTO {table} {LINES}"),
            Self::OverwriteManaged => format!("INSERT OVERWRITE {table} {TOTALS}"),
            Self::MergeManaged => format!(
                "MERGE INTO {table} AS t USING ({CHANGES}) AS s ON t.id = s.id
                 WHEN MATCHED THEN UPDATE SET total = s.total, status = 'M'
                 WHEN NOT MATCHED THEN INSERT (id, total, status) VALUES (s.id, s.total, 'N')"
            ),
        }
    }

    pub fn writes(self) -> bool {
        !matches!(self, Self::Join | Self::Window | Self::Sort | Self::Distinct)
    }

    pub fn is_managed(self) -> bool {
        self.writes() && self != Self::OverwriteFiles
    }

    /// The rows when it has succeeded, as SQL over the source.
    fn after(self) -> String {
        match self {
            Self::OverwriteFiles => format!("{LINES} UNION ALL {KEPT}"),
            Self::CreateManaged => LINES.to_owned(),
            Self::AppendManaged => format!("{OLD} UNION ALL {LINES}"),
            Self::OverwriteManaged => TOTALS.to_owned(),
            Self::MergeManaged => format!(
                "{ORDERS} AND o_custkey % 3 <> 0 UNION ALL
                 SELECT id, total, CASE WHEN odd = 0 THEN 'M' ELSE 'N' END AS status FROM ({CHANGES})"
            ),
            query => query.statement(&Place { table: String::new(), location: String::new(), prefix: String::new() }),
        }
    }

    /// The rows of its table when it has failed; nothing at all for a table that it would have made.
    fn before(self) -> Option<String> {
        match self {
            Self::OverwriteFiles => Some(format!("{OLD} UNION ALL {KEPT}")),
            Self::AppendManaged => Some(OLD.to_owned()),
            Self::OverwriteManaged | Self::MergeManaged => Some(ORDERS.to_owned()),
            _ => None,
        }
    }

    fn read_back(self, place: &Place, s3: &S3Access) -> Outcome<Rows> {
        let (columns, source) = match self {
            Self::OverwriteFiles => (COLUMNS, Source::new("t", &place.location)),
            Self::CreateManaged | Self::AppendManaged => (COLUMNS, Source::delta("t", &place.location)),
            _ => ("id, total, status", Source::delta("t", &place.location)),
        };
        let columns = columns.replace("l_shipmode", "CAST(l_shipmode AS VARCHAR) AS l_shipmode");
        duckdb(&format!("SELECT {columns} FROM t"), &[source], Some(s3))
    }

    /// An error unless these rows, or those of the table, are what single-process DataFusion says.
    pub fn check(self, succeeded: bool, place: &Place, rows: Option<&Rows>, s3: &S3Access) -> Outcome<()> {
        let wanted = if succeeded { Some(self.after()) } else { self.before() };
        let what = format!("{self:?}, {}", if succeeded { "succeeded" } else { "failed" });
        match (wanted, rows) {
            (Some(sql), Some(rows)) if !self.writes() => {
                let order = if self == Self::Sort { Order::Total } else { Order::Any };
                rows.expect_same(&expected(&sql)?, order, &what)
            }
            (Some(sql), _) if self.writes() => {
                self.read_back(place, s3)?.expect_same(&expected(&sql)?, Order::Any, &what)
            }
            (Some(_), _) => Err(fail(format!("{what}: there are no rows to look at"))),
            (None, _) => Ok(()),
        }
    }
}

/// What the oracle answers; asked once.
fn expected(sql: &str) -> Outcome<Rows> {
    static KNOWN: LazyLock<Mutex<BTreeMap<String, Rows>>> = LazyLock::new(Mutex::default);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(rows) = known().get(sql) {
        return Ok(rows.clone());
    }
    let rows = ORACLE.query(sql)?;
    if rows.rows.is_empty() {
        return Err(fail(format!("{sql} has no rows at this scale: it would prove nothing")));
    }
    known().insert(sql.to_owned(), rows.clone());
    Ok(rows)
}
