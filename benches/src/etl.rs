//! The ETL write: lineitem, orders and customer joined and written as zstd Parquet partitioned by order month. Ours is an
//! INSERT OVERWRITE into an external table, DataFusion's a COPY with the same compression. Sums over both outputs must agree.

use selvedge_tests::Outcome;
use selvedge_tests::rows::{Order, Rows};

use crate::alone::Alone;
use crate::args::Etl;
use crate::ours::Answer;
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
    let mut line = Line::new("etl write");
    for pass in 1..=args.passes {
        // Each pass has places and names of its own: sessions remember what they have listed.
        compare(&stage, &alone, pass, args.setup.skip_alone, &mut line)?;
        line.say("DataFusion s");
    }
    report.keep(line);
    for name in &args.setup.peers {
        report.add_peer(name, peers::etl(name, &stage.data, &args.setup, &stage.output));
    }
    report.finish()
}

fn compare(stage: &Stage, alone: &Alone, pass: u16, skip_alone: bool, line: &mut Line) -> Outcome<()> {
    let at = |side: &str| format!("{}/{side}_{pass}/", stage.output);
    eprintln!("INSERT OVERWRITE");
    let ours = write(stage, &format!("mart_{pass}"), &at("ours"));
    match &ours {
        Ok(answer) => line.took(answer.took),
        Err(error) => line.fail(&error.to_string()),
    }
    let got = ours.and_then(|_| sums(alone, &format!("ours_{pass}"), &at("ours")));
    if let Ok(rows) = &got {
        line.rows = rows.rows.first().and_then(|r| r.first()?.parse().ok());
    }
    if skip_alone {
        return Ok(());
    }
    eprintln!("COPY by DataFusion alone");
    let copy = format!(
        "COPY ({SELECT}) TO '{}' STORED AS PARQUET PARTITIONED BY (o_month) \
         OPTIONS ('format.compression' '{COMPRESSION}')",
        at("alone")
    );
    match alone.run(&copy) {
        Ok((_, took)) => {
            line.took_beside(took);
            let want = sums(alone, &format!("alone_{pass}"), &at("alone"))?;
            match &got {
                Ok(got) => line.compare(got.difference(&want, Order::Total)),
                Err(error) => line.fail(&error.to_string()),
            }
        }
        Err(error) => line.note(&error.to_string()),
    }
    Ok(())
}

/// Ours: creates the table at the location and writes it. The time is the write's.
pub fn write(stage: &Stage, table: &str, location: &str) -> Outcome<Answer> {
    stage.ours.run(&format!(
        "CREATE EXTERNAL TABLE {table} ({COLUMNS}) STORED AS PARQUET PARTITIONED BY (o_month) LOCATION '{location}'"
    ))?;
    stage.ours.run(&format!("INSERT OVERWRITE {table} {SELECT}"))
}

/// Sums over what lies at a location.
pub fn sums(alone: &Alone, name: &str, location: &str) -> Outcome<Rows> {
    alone.register(name, location)?;
    sums_of(alone, name)
}

/// Sums over what should be written.
pub fn right_sums(alone: &Alone) -> Outcome<Rows> {
    sums_of(alone, &format!("({SELECT})"))
}

fn sums_of(alone: &Alone, relation: &str) -> Outcome<Rows> {
    let sql = format!(
        "SELECT count(*), sum(l_orderkey), sum(l_partkey), sum(l_extendedprice), sum(o_totalprice), max(l_shipdate), \
         min(c_name), count(DISTINCT o_orderdate) FROM {relation} AS written"
    );
    Rows::from_batches(&alone.run(&sql)?.0)
}
