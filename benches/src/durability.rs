//! The queries with each durability of shuffle files, one after the other for every query, so that what drifts meets all alike;
//! each comes first as often as the others. Beside the times: the requests for shuffle data, of which stores charge each.

use std::collections::BTreeMap;
use std::time::Duration;

use selvedge_tests::Outcome;
use selvedge_tests::fleet::Fleet;
use selvedge_tests::tpch::Query;
use serde::Serialize;

use crate::alone::Alone;
use crate::args::{Durability, Mode};
use crate::head::{Head, table, two_places};
use crate::stage::Stage;
use crate::suite::{Expected, queries};
use crate::work::{Watch, Work};

const END_LIMIT: Duration = Duration::from_secs(60);

/// The most that a mode may take, as a ratio to `local`.
fn limit(mode: Mode) -> Option<f64> {
    match mode {
        Mode::Eager => Some(1.15),
        Mode::Lazy => Some(1.05),
        Mode::Local | Mode::Default => None,
    }
}

/// One query in one mode.
#[derive(Debug, Serialize)]
struct Ran {
    query: u32,
    mode: String,
    seconds: f64,
    fault: Option<String>,
    work: Work,
}

#[derive(Debug, Serialize)]
struct Total {
    mode: String,
    seconds: f64,
    ratio: Option<f64>,
    limit: Option<f64>,
    work: Work,
}

#[derive(Debug, Serialize)]
struct Figures {
    #[serde(flatten)]
    head: Head,
    totals: Vec<Total>,
    queries: Vec<Ran>,
}

/// Runs it; false when a result is wrong.
pub fn run(args: &Durability) -> Outcome<bool> {
    let setup = args.basis.setup(2, true);
    let queries = queries(&args.basis.queries)?;
    let stage = Stage::prepare(&setup)?;
    let expected = Expected::of(&Alone::new(&stage.root, stage.s3.as_ref(), setup.cores())?, &queries)?;
    let fleet = stage.cluster.fleet()?;
    eprintln!("Warm-up");
    if let Some(first) = queries.first() {
        stage.ours.run(first.sql)?;
    }
    let mut ran: BTreeMap<Mode, Vec<Ran>> = BTreeMap::new();
    for (turn, query) in queries.iter().enumerate() {
        eprintln!("q{}", query.number);
        let mut modes = args.modes.clone();
        modes.rotate_left(turn % args.modes.len().max(1));
        for mode in modes {
            let one = measure(&stage, &fleet, &expected, query, mode);
            eprintln!("  {mode} {:.2} s {}", one.seconds, one.fault.as_deref().unwrap_or_default());
            ran.entry(mode).or_default().push(one);
        }
    }
    let sums = |mode: Mode| {
        let all = ran.get(&mode).map(Vec::as_slice).unwrap_or_default();
        let mut work = Work::default();
        all.iter().for_each(|one| work.add(&one.work));
        (all.iter().map(|one| one.seconds).sum::<f64>(), work)
    };
    let base = args.modes.first().map(|mode| sums(*mode).0);
    let totals = args.modes.iter().map(|mode| {
        let (seconds, work) = sums(*mode);
        let ratio = base.filter(|base| *base > 0.0).map(|base| seconds / base);
        Total { mode: mode.to_string(), seconds, ratio, limit: limit(*mode), work }
    });
    let totals = totals.collect();
    let mut queries: Vec<Ran> = ran.into_values().flatten().collect();
    queries.sort_by_key(|one| one.query);
    Figures { head: Head::new("durability", &setup), totals, queries }.finish()
}

fn measure(stage: &Stage, fleet: &Fleet, expected: &Expected, query: &Query, mode: Mode) -> Ran {
    let answer = stage.ours.run_with(query.sql, mode.setting());
    let mut watch = Watch::default();
    if let Ok(answer) = &answer
        && let Ok(run) = fleet.wait_final(&answer.run_id, END_LIMIT)
    {
        watch.look(&run);
    }
    Ran {
        query: query.number,
        mode: mode.to_string(),
        seconds: answer.as_ref().map_or(0.0, |answer| answer.took.as_secs_f64()),
        fault: expected.fault(query, &answer),
        work: watch.total(),
    }
}

impl Figures {
    fn finish(&self) -> Outcome<bool> {
        self.head.print();
        let rows = self.totals.iter().map(|total| {
            let times = [two_places(Some(total.seconds)), two_places(total.ratio), two_places(total.limit)];
            [total.mode.clone()].into_iter().chain(times).chain(requests(&total.work)).collect()
        });
        let counts = ["stages", "tasks", "local", "peer", "GET", "PUT", "a task"];
        println!("{}", table(["durability", "s", "ratio", "limit"].into_iter().chain(counts), rows.collect()));
        let rows = self.queries.iter().map(|one| {
            let cells = [format!("q{}", one.query), one.mode.clone(), two_places(Some(one.seconds))];
            cells.into_iter().chain(requests(&one.work)).collect()
        });
        println!("Requests for shuffle data, all stages of a query together:");
        println!("{}", table(["", "durability", "s"].into_iter().chain(counts), rows.collect()));
        for one in &self.queries {
            if let Some(fault) = &one.fault {
                println!("q{} {}: {fault}", one.query, one.mode);
            }
        }
        let right = self.queries.iter().filter(|one| one.fault.is_none()).count();
        println!("{right} of {} complete and right", self.queries.len());
        self.head.write(self)?;
        Ok(right == self.queries.len())
    }
}

fn requests(work: &Work) -> Vec<String> {
    let counts = [work.stages, work.tasks, work.local, work.peer, work.remote, work.put];
    counts.iter().map(u64::to_string).chain([two_places(Some(work.requests_per_task()))]).collect()
}
