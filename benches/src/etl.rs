//! The ETL write: lineitem, orders and customer joined and written as zstd Parquet partitioned by order month. Ours is an
//! INSERT OVERWRITE into an external table, DataFusion's a COPY with the same compression. Sums over both outputs must agree.

use selvedge_tests::Outcome;
use selvedge_tests::rows::{Order, Rows};

use crate::alone::Alone;
use crate::args::Etl;
use crate::peers;
use crate::report::{Line, Report};
use crate::stage::Stage;

const SELECT: &str = "\
SELECT l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_tax, l_returnflag,
       l_linestatus, l_shipdate, l_shipmode, o_orderdate, o_orderpriority, o_totalprice, c_custkey, c_name, c_mktsegment,
       to_char(o_orderdate, '%Y-%m') AS o_month
FROM lineitem JOIN orders ON l_orderkey = o_orderkey JOIN customer ON o_custkey = c_custkey";

const COLUMNS: &str = "\
l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INT, l_quantity DECIMAL(15, 2),
l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2), l_returnflag VARCHAR, l_linestatus VARCHAR,
l_shipdate DATE, l_shipmode VARCHAR, o_orderdate DATE, o_orderpriority VARCHAR, o_totalprice DECIMAL(15, 2),
c_custkey BIGINT, c_name VARCHAR, c_mktsegment VARCHAR, o_month VARCHAR";

/// DataFusion's own default, and ours.
const COMPRESSION: &str = "zstd(3)";

/// Runs it; false when a side failed or the outputs differ.
pub fn run(args: &Etl) -> Outcome<bool> {
    let stage = Stage::prepare(&args.setup)?;
    let alone = Alone::new(&stage.root, stage.s3.as_ref(), args.setup.cores())?;
    let mut report = Report::new("etl", &args.setup);
    let (ours_at, alone_at) = (format!("{}/ours/", stage.output), format!("{}/alone/", stage.output));

    eprintln!("INSERT OVERWRITE");
    stage.ours.run(&format!(
        "CREATE EXTERNAL TABLE mart ({COLUMNS}) STORED AS PARQUET PARTITIONED BY (o_month) LOCATION '{ours_at}'"
    ))?;
    let ours = stage.ours.run(&format!("INSERT OVERWRITE mart {SELECT}"));
    let mut line = Line::new("etl write");
    match &ours {
        Ok(answer) => line.ours = Some(answer.took.as_secs_f64()),
        Err(error) => line.fail(&error.to_string()),
    }
    let got = ours.and_then(|_| sums(&alone, "ours", &ours_at));
    if let Ok(rows) = &got {
        line.rows = rows.rows.first().and_then(|r| r.first()?.parse().ok());
    }

    if !args.setup.skip_alone {
        eprintln!("COPY by DataFusion alone");
        let copy = format!(
            "COPY ({SELECT}) TO '{alone_at}' STORED AS PARQUET PARTITIONED BY (o_month) \
             OPTIONS ('format.compression' '{COMPRESSION}')"
        );
        match alone.run(&copy) {
            Ok((_, took)) => {
                line.alone = Some(took.as_secs_f64());
                let want = sums(&alone, "alone", &alone_at)?;
                match &got {
                    Ok(got) => line.compare(got.difference(&want, Order::Total)),
                    Err(error) => line.fail(&error.to_string()),
                }
            }
            Err(error) => line.note(&error.to_string()),
        }
    }
    report.add(line);
    for name in &args.setup.peers {
        report.add_peer(name, peers::etl(name, &stage.data, &args.setup, &stage.output));
    }
    report.finish()
}

fn sums(alone: &Alone, name: &str, location: &str) -> Outcome<Rows> {
    alone.register(name, location)?;
    let sql = format!(
        "SELECT count(*), sum(l_orderkey), sum(l_partkey), sum(l_extendedprice), sum(o_totalprice), max(l_shipdate), \
         min(c_name), count(DISTINCT o_orderdate) FROM {name}"
    );
    Rows::from_batches(&alone.run(&sql)?.0)
}
