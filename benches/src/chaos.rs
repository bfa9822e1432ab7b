//! The queries on four executors with their shuffle in a bucket: once undisturbed, then with executors killed in the middle of a
//! query, at a share of the undisturbed pass's time. Those killed are not replaced before the pass ends.
//!
//! What a pass cost is the time of all its task attempts, counted work and lost work alike, beside the undisturbed pass's.

use std::time::Duration;

use selvedge_proto::v1::Run;
use selvedge_tests::fleet::Fleet;
use selvedge_tests::tpch::Query;
use selvedge_tests::{Outcome, fail};
use serde::Serialize;

use crate::alone::Alone;
use crate::args::{Chaos, Mode};
use crate::head::{Head, table};
use crate::stage::Stage;
use crate::suite::{Expected, queries};
use crate::work::{Watch, Work};

const EXECUTORS: u16 = 4;
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const END_LIMIT: Duration = Duration::from_secs(60);

/// When, in hundredths of the undisturbed pass, and how many.
const KILLS: [(u32, usize); 4] = [(25, 1), (50, 1), (75, 1), (50, 2)];

/// The most that a pass may cost more than the undisturbed one.
fn limit_percent(mode: Mode) -> f64 {
    if mode == Mode::Lazy { 15.0 } else { 10.0 }
}

/// One query of a pass.
#[derive(Debug, Serialize)]
struct Ran {
    query: u32,
    seconds: f64,
    fault: Option<String>,
    work: Work,
}

/// The queries once.
#[derive(Debug, Serialize)]
struct Pass {
    name: String,
    queries: Vec<Ran>,
    /// The query in whose middle the kill was.
    killed_in: Option<u32>,
    /// How much more it cost than the undisturbed pass.
    extra_percent: Option<f64>,
    /// The part of it that is known to be lost work.
    lost_percent: Option<f64>,
}

impl Pass {
    fn work(&self) -> Work {
        let mut sum = Work::default();
        self.queries.iter().for_each(|ran| sum.add(&ran.work));
        sum
    }

    fn seconds(&self) -> f64 {
        self.queries.iter().map(|ran| ran.seconds).sum()
    }

    fn right(&self) -> usize {
        self.queries.iter().filter(|ran| ran.fault.is_none()).count()
    }

    fn weigh(&mut self, undisturbed: &Self) {
        let (work, beside) = (self.work(), undisturbed.work());
        let percent = |ms: f64| Some(100.0 * ms / beside.spent_ms().max(1) as f64);
        self.extra_percent = percent(work.spent_ms() as f64 - beside.spent_ms() as f64);
        self.lost_percent = percent(work.lost_task_ms as f64);
    }
}

/// A kill to come: the query from which on, how far into it, and how many executors.
#[derive(Debug, Clone, Copy)]
struct Strike {
    turn: usize,
    after_seconds: f64,
    victims: usize,
}

impl Strike {
    /// At a share of an undisturbed pass, but never past the middle of a query: it may end sooner this time.
    fn plan(percent: u32, victims: usize, undisturbed: &Pass) -> Self {
        let mut left = undisturbed.seconds() * f64::from(percent) / 100.0;
        for (turn, ran) in undisturbed.queries.iter().enumerate() {
            if left < ran.seconds {
                return Self { turn, after_seconds: left.min(ran.seconds / 2.0), victims };
            }
            left -= ran.seconds;
        }
        Self { turn: undisturbed.queries.len().saturating_sub(1), after_seconds: 0.0, victims }
    }
}

#[derive(Debug, Serialize)]
struct Figures {
    #[serde(flatten)]
    head: Head,
    mode: String,
    limit_percent: f64,
    passes: Vec<Pass>,
}

/// Runs it; false when a result is wrong.
pub fn run(args: &Chaos) -> Outcome<bool> {
    let setup = args.basis.setup(EXECUTORS, true);
    let queries = queries(&args.basis.queries)?;
    let stage = Stage::prepare(&setup)?;
    let expected = Expected::of(&Alone::new(&stage.root, stage.s3.as_ref(), setup.cores())?, &queries)?;
    let fleet = stage.cluster.fleet()?;
    let mut bench = Bench { stage, fleet, queries, expected, mode: args.mode };

    eprintln!("Warm-up");
    if let Some(first) = bench.queries.first() {
        bench.stage.ours.run_with(first.sql, bench.mode.setting())?;
    }
    let mut passes = vec![bench.pass("undisturbed", None)?];
    for (percent, victims) in KILLS {
        let Some(undisturbed) = passes.first() else { break };
        let strike = Strike::plan(percent, victims, undisturbed);
        let mut pass = bench.pass(&format!("{victims} of {EXECUTORS} killed at {percent} %"), Some(strike))?;
        pass.weigh(undisturbed);
        passes.push(pass);
    }
    let figures = Figures {
        head: Head::new("chaos", &setup),
        mode: args.mode.to_string(),
        limit_percent: limit_percent(args.mode),
        passes,
    };
    figures.finish()
}

struct Bench {
    stage: Stage,
    fleet: Fleet,
    queries: Vec<Query>,
    expected: Expected,
    mode: Mode,
}

impl Bench {
    /// All queries, one after another; at its end the cluster is whole again.
    fn pass(&mut self, name: &str, mut strike: Option<Strike>) -> Outcome<Pass> {
        eprintln!("{name}");
        let victims = strike.map_or(0, |s| s.victims);
        let mut pass = Pass {
            name: name.to_owned(),
            queries: Vec::new(),
            killed_in: None,
            extra_percent: None,
            lost_percent: None,
        };
        for (turn, query) in self.queries.clone().iter().enumerate() {
            let due = strike
                .filter(|s| turn >= s.turn)
                .map(|s| Strike { after_seconds: if turn == s.turn { s.after_seconds } else { 0.0 }, ..s });
            let (ran, struck) = self.query(query, due)?;
            eprintln!("  q{} {:.2} s {}", ran.query, ran.seconds, ran.fault.as_deref().unwrap_or_default());
            if struck {
                strike = None;
                pass.killed_in = Some(query.number);
            }
            pass.queries.push(ran);
        }
        if pass.killed_in.is_some() {
            for _ in 0..victims {
                self.stage.cluster.add_executor()?;
            }
            self.stage.cluster.wait_executors(usize::from(EXECUTORS))?;
        } else if victims > 0 {
            eprintln!("  no query was seen in its middle: nothing was killed");
        }
        Ok(pass)
    }

    /// One query, and whether executors were killed in it.
    fn query(&mut self, query: &Query, strike: Option<Strike>) -> Outcome<(Ran, bool)> {
        let mut watch = Watch::default();
        let mut due = strike;
        let begun = match self.stage.ours.begin(query.sql, self.mode.setting()) {
            Ok(begun) => begun,
            Err(error) => {
                let fault = Some(error.to_string());
                return Ok((Ran { query: query.number, seconds: 0.0, fault, work: Work::default() }, false));
            }
        };
        let run_id = begun.run_id.clone();
        while !begun.has_ended() {
            // One look that fails is followed by another.
            if let Ok(run) = self.fleet.run(&run_id) {
                watch.look(&run);
                if let Some(strike) = due
                    && begun.elapsed().as_secs_f64() >= strike.after_seconds
                    && is_in_its_middle(&run)
                {
                    self.kill(strike.victims)?;
                    due = None;
                }
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let answer = begun.finish();
        if let Ok(run) = self.fleet.wait_final(&run_id, END_LIMIT) {
            watch.look(&run);
        }
        let ran = Ran {
            query: query.number,
            seconds: answer.as_ref().map_or(seconds, |answer| answer.took.as_secs_f64()),
            fault: self.expected.fault(query, &answer),
            work: watch.total(),
        };
        Ok((ran, strike.is_some() && due.is_none()))
    }

    /// Kills the executors that have most to do.
    fn kill(&mut self, victims: usize) -> Outcome<()> {
        let mut active = self.fleet.active_executors()?;
        active.sort_by_key(|e| std::cmp::Reverse(e.running_tasks));
        if active.len() < victims {
            return Err(fail(format!("{victims} executors should be killed, {} are there", active.len())));
        }
        for victim in active.iter().take(victims) {
            eprintln!("  kill -9 of executor {} with running tasks: {}", victim.executor_id, victim.running_tasks);
            let mut ours = self.stage.cluster.executors().iter_mut();
            if let Some(executor) = ours.find(|e| e.id == victim.executor_id) {
                executor.process.kill()?;
            }
        }
        Ok(())
    }
}

/// Whether some of its tasks are done and some run.
fn is_in_its_middle(run: &Run) -> bool {
    let stages = || run.statements.iter().flat_map(|s| &s.stages);
    stages().any(|s| s.tasks_done > 0) && stages().any(|s| s.tasks_running > 0)
}

impl Figures {
    fn finish(&self) -> Outcome<bool> {
        self.head.print();
        println!("durability of shuffle files: {}", self.mode);
        let heads = [
            "pass",
            "killed in",
            "s",
            "task s",
            "lost s",
            "lost %",
            "extra %",
            "limit %",
            "failed",
            "run again",
            "statements again",
            "right",
        ];
        println!("{}", table(heads, self.passes.iter().map(|pass| self.cells(pass)).collect()));
        for (pass, ran) in self.passes.iter().flat_map(|p| p.queries.iter().map(move |ran| (p, ran))) {
            if let Some(fault) = &ran.fault {
                println!("{}: q{}: {fault}", pass.name, ran.query);
            }
        }
        let (right, all) = self.passes.iter().fold((0, 0), |(r, n), p| (r + p.right(), n + p.queries.len()));
        println!("{right} of {all} complete and right");
        self.head.write(self)?;
        Ok(right == all)
    }

    fn cells(&self, pass: &Pass) -> Vec<String> {
        let work = pass.work();
        let seconds = |ms: u64| format!("{:.2}", ms as f64 / 1000.0);
        let percent = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.1}"));
        vec![
            pass.name.clone(),
            pass.killed_in.map_or("-".to_owned(), |q| format!("q{q}")),
            format!("{:.2}", pass.seconds()),
            seconds(work.task_ms),
            seconds(work.lost_task_ms),
            percent(pass.lost_percent),
            percent(pass.extra_percent),
            percent(pass.extra_percent.map(|_| self.limit_percent)),
            work.tasks_failed.to_string(),
            work.tasks_rerun.to_string(),
            work.statements_again.to_string(),
            format!("{} of {}", pass.right(), pass.queries.len()),
        ]
    }
}
