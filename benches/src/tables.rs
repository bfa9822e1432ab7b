//! Managed tables: merges of few and of many rows, an overwrite of one partition of many, a write that is checked.
//!
//! There is no other engine in the second column but another statement of ours, named in the note: what a merge costs beside
//! writing the table anew, one partition beside all, a checked write beside an unchecked one.

use selvedge_tests::rows::Rows;
use selvedge_tests::{Outcome, fail};

use crate::args::Tables;
use crate::ours::Answer;
use crate::report::{Line, Report};
use crate::stage::Stage;

/// What the expectations look at: each holds for every row.
const EXPECTATIONS: [&str; 5] = [
    "l_quantity > 0",
    "l_extendedprice >= 0 AND l_discount BETWEEN 0 AND 1",
    "l_shipdate <= l_receiptdate",
    "l_returnflag IN ('A', 'N', 'R')",
    "length(l_shipmode) > 2",
];

/// Runs it; false when a statement failed or left other rows than it should.
pub fn run(args: &Tables) -> Outcome<bool> {
    let stage = Stage::prepare(&args.setup)?;
    let mut report = Report::beside("tables", &args.setup, "beside s");
    merges(&stage, &mut report)?;
    partitions(&stage, &mut report)?;
    expectations(&stage, &mut report)?;
    report.finish()
}

fn merges(stage: &Stage, report: &mut Report) -> Outcome<()> {
    let at = |name: &str| format!("LOCATION '{}/{name}/'", stage.output);
    let ours = &stage.ours;
    ours.run(&format!("CREATE TABLE merged {} AS SELECT * FROM orders", at("merged")))?;
    let anew = ours.run("INSERT OVERWRITE merged SELECT * FROM merged")?;
    for (percent, divisor) in [(1, 100), (20, 5)] {
        eprintln!("MERGE of {percent} %");
        let before = checked(stage, "merged")?;
        // Half of them are there, the others are new.
        let merge = format!(
            "MERGE INTO merged t USING (
               SELECT CASE WHEN o_orderkey % 2 = 0 THEN o_orderkey ELSE -o_orderkey - {percent} * 1000000000 END AS key, *
               FROM orders WHERE o_custkey % {divisor} = 0
             ) s ON t.o_orderkey = s.key
             WHEN MATCHED THEN UPDATE SET o_comment = 'merged', o_totalprice = s.o_totalprice + 1
             WHEN NOT MATCHED THEN INSERT (o_orderkey, o_custkey, o_orderstatus, o_totalprice, o_orderdate, o_orderpriority,
               o_clerk, o_shippriority, o_comment) VALUES (s.key, s.o_custkey, s.o_orderstatus, s.o_totalprice, s.o_orderdate,
               s.o_orderpriority, s.o_clerk, s.o_shippriority, s.o_comment)"
        );
        let merged = ours.run(&merge);
        let new = single(
            &ours
                .run(&format!("SELECT count(*) FROM orders WHERE o_custkey % {divisor} = 0 AND o_orderkey % 2 <> 0"))?,
        )?;
        let mut line = line(&format!("merge {percent} %"), merged, &anew, "the table written anew");
        let rows = checked(stage, "merged")? - before;
        line.rows = usize::try_from(rows).ok();
        line.compare((rows != new).then(|| format!("{rows} rows came, {new} should have")));
        report.add(line);
    }
    Ok(())
}

fn partitions(stage: &Stage, report: &mut Report) -> Outcome<()> {
    eprintln!("Overwrite of one partition");
    let ours = &stage.ours;
    let select = "SELECT *, to_char(o_orderdate, '%Y-%m') AS month FROM orders";
    let all = ours.run(&format!(
        "CREATE TABLE monthly PARTITIONED BY (month) LOCATION '{}/monthly/' AS {select}",
        stage.output
    ))?;
    let before = checked(stage, "monthly")?;
    let one = ours.run(&format!(
        "INSERT OVERWRITE monthly {select} WHERE o_orderdate BETWEEN DATE '1995-03-01' AND DATE '1995-03-31'"
    ));
    let mut line = line("overwrite 1 of 80", one, &all, "all 80 partitions");
    let after = checked(stage, "monthly")?;
    line.compare((after != before).then(|| format!("{after} rows are there, {before} were")));
    report.add(line);
    Ok(())
}

fn expectations(stage: &Stage, report: &mut Report) -> Outcome<()> {
    eprintln!("A checked write");
    let ours = &stage.ours;
    for name in ["unchecked", "checked"] {
        ours.run(&format!(
            "CREATE TABLE {name} LOCATION '{}/{name}/' AS SELECT * FROM lineitem WHERE false",
            stage.output
        ))?;
    }
    for (number, check) in EXPECTATIONS.iter().enumerate() {
        ours.run(&format!("EXPECT bench_{number} ON checked CHECK ({check}) FAIL"))?;
    }
    let plain = ours.run("INSERT OVERWRITE unchecked SELECT * FROM lineitem")?;
    let mut line = line(
        "5 expectations",
        ours.run("INSERT OVERWRITE checked SELECT * FROM lineitem"),
        &plain,
        "the write without them",
    );
    let (with, without) = (checked(stage, "checked")?, checked(stage, "unchecked")?);
    line.compare((with != without).then(|| format!("{with} rows are there, {without} should be")));
    report.add(line);
    Ok(())
}

fn line(name: &str, ours: Outcome<Answer>, beside: &Answer, what: &str) -> Line {
    let mut line = Line::new(name);
    line.note(&format!("beside: {what}"));
    line.took_beside(beside.took);
    match ours {
        Ok(answer) => line.took(answer.took),
        Err(error) => line.fail(&error.to_string()),
    }
    line
}

fn checked(stage: &Stage, table: &str) -> Outcome<i64> {
    single(&stage.ours.run(&format!("SELECT count(*) FROM {table}"))?)
}

fn single(answer: &Answer) -> Outcome<i64> {
    let rows = Rows::from_batches(&answer.batches)?;
    rows.single()?.parse().map_err(|_| fail("a count is no number"))
}
