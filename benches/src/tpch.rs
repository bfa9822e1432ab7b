//! The 22 TPC-H queries, ours and DataFusion alone by turns, results compared.

use selvedge_tests::rows::Rows;
use selvedge_tests::tpch::{QUERIES, Query, query};
use selvedge_tests::{HarnessError, Outcome};

use crate::alone::Alone;
use crate::args::Tpch;
use crate::peers;
use crate::report::{Line, Report};
use crate::stage::Stage;

/// Runs it; false when a query failed or gave other rows.
pub fn run(args: &Tpch) -> Outcome<bool> {
    let queries: Vec<Query> = match args.queries.as_slice() {
        [] => QUERIES.to_vec(),
        some => some.iter().map(|number| query(*number)).collect::<Outcome<_>>()?,
    };
    let stage = Stage::prepare(&args.setup)?;
    let alone = Alone::new(&stage.root, stage.s3.as_ref(), args.setup.cores())?;
    let mut report = Report::new("tpch", &args.setup);
    for (turn, query) in queries.iter().enumerate() {
        eprintln!("q{}", query.number);
        // By turns, so that neither side always comes second.
        let (ours, theirs) = if turn % 2 == 0 {
            let ours = stage.ours.run(query.sql);
            (ours, measure_alone(&alone, query, args.setup.skip_alone))
        } else {
            let theirs = measure_alone(&alone, query, args.setup.skip_alone);
            (stage.ours.run(query.sql), theirs)
        };
        let mut line = Line::new(&format!("q{}", query.number));
        let got = ours.and_then(|answer| Ok((Rows::from_batches(&answer.batches)?, answer.took)));
        if let Some(Err(error)) = &theirs {
            line.note(&error.to_string());
        }
        if let Some(Ok((_, took))) = &theirs {
            line.alone = Some(took.as_secs_f64());
        }
        match got {
            Ok((rows, took)) => {
                line.ours = Some(took.as_secs_f64());
                line.rows = Some(rows.rows.len());
                if let Some(Ok((want, _))) = &theirs {
                    line.compare(rows.difference(want, query.order));
                }
            }
            Err(error) => line.fail(&error.to_string()),
        }
        report.add(line);
    }
    for name in &args.setup.peers {
        report.add_peer(name, peers::tpch(name, &stage.data, &args.setup, &queries));
    }
    report.finish()
}

type Measured = Option<Result<(Rows, std::time::Duration), HarnessError>>;

fn measure_alone(alone: &Alone, query: &Query, skip: bool) -> Measured {
    (!skip).then(|| alone.run(query.sql).and_then(|(batches, took)| Ok((Rows::from_batches(&batches)?, took))))
}
