//! The chaos suite: seeded schedules of what goes wrong in a cluster, while real statements run on it.
//!
//! `schedule.rs` draws a schedule from a seed, `play.rs` lets it happen, `workload.rs` knows the statements and the right rows,
//! `checks.rs` what must be true afterwards, and `run.rs` puts them together. `make chaos` runs many; docs/chaos.md.

mod checks;
mod disk;
mod faults;
mod play;
mod run;
mod schedule;
mod stage;
mod workload;

use std::time::Instant;

use schedule::Schedule;

use crate::stage::heavy;

/// Those of every `make test`.
const SEEDS: u64 = 20;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// `SELVEDGE_CHAOS_SEED=n` is that one alone, `SELVEDGE_CHAOS_SEEDS=n` so many from 0 on.
fn seeds() -> Vec<u64> {
    match number("SELVEDGE_CHAOS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SELVEDGE_CHAOS_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[test]
fn chaos_changes_no_row_and_leaves_nothing() {
    let _turn = heavy();
    let (mut ended, mut wrong) = (Vec::new(), Vec::new());
    for seed in seeds() {
        let schedule = Schedule::of(seed);
        let began = Instant::now();
        match run::run(&schedule) {
            Ok(end) => {
                println!("seed {seed}: {schedule} ... ok in {:.1} s", began.elapsed().as_secs_f64());
                ended.push((seed, end, began.elapsed()));
            }
            Err(error) => {
                println!("seed {seed}: {schedule} ... WRONG after {:.1} s\n{error}", began.elapsed().as_secs_f64());
                println!("again: make chaos SEED={seed}");
                wrong.push(format!("seed {seed}: {schedule}\n{error}"));
            }
        }
    }
    println!("{}", run::summary(&ended));
    assert!(wrong.is_empty(), "{} schedules ended wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}
