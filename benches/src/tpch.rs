//! The 22 TPC-H queries, ours and DataFusion alone by turns, results compared.

use std::time::Duration;

use selvedge_tests::Outcome;
use selvedge_tests::rows::Rows;
use selvedge_tests::tpch::Query;

use crate::alone::Alone;
use crate::args::Tpch;
use crate::peers;
use crate::report::{Line, Report};
use crate::stage::Stage;
use crate::suite::queries;

/// Runs it; false when a query failed or gave other rows.
pub fn run(args: &Tpch) -> Outcome<bool> {
    let queries = queries(&args.queries)?;
    let stage = Stage::prepare(&args.setup)?;
    let alone = Alone::new(&stage.root, stage.s3.as_ref(), args.setup.cores())?;
    let mut report = Report::new("tpch", &args.setup);
    let mut lines: Vec<Line> = queries.iter().map(|query| Line::new(&format!("q{}", query.number))).collect();
    for pass in 0..usize::from(args.passes) {
        for (turn, (query, line)) in queries.iter().zip(&mut lines).enumerate() {
            eprintln!("q{}", query.number);
            // By turns, so that neither side always comes second.
            let (ours, theirs) = if (turn + pass) % 2 == 0 {
                let ours = stage.ours.run(query.sql);
                (ours, measure_alone(&alone, query, args.setup.skip_alone))
            } else {
                let theirs = measure_alone(&alone, query, args.setup.skip_alone);
                (stage.ours.run(query.sql), theirs)
            };
            let ours = ours.and_then(|answer| Ok((Rows::from_batches(&answer.batches)?, answer.took)));
            take(line, query, ours, theirs);
            line.say("DataFusion s");
        }
    }
    lines.into_iter().for_each(|line| report.keep(line));
    for name in &args.setup.peers {
        report.add_peer(name, peers::tpch(name, &stage.data, &args.setup, &queries));
    }
    report.finish()
}

type Measured = Outcome<(Rows, Duration)>;

fn take(line: &mut Line, query: &Query, ours: Measured, theirs: Option<Measured>) {
    match &theirs {
        Some(Ok((_, took))) => line.took_beside(*took),
        Some(Err(error)) => line.note(&error.to_string()),
        None => {}
    }
    match ours {
        Ok((rows, took)) => {
            line.took(took);
            line.rows = Some(rows.rows.len());
            if let Some(Ok((want, _))) = &theirs {
                line.compare(rows.difference(want, query.order));
            }
        }
        Err(error) => line.fail(&error.to_string()),
    }
}

fn measure_alone(alone: &Alone, query: &Query, skip: bool) -> Option<Measured> {
    (!skip).then(|| alone.run(query.sql).and_then(|(batches, took)| Ok((Rows::from_batches(&batches)?, took))))
}
