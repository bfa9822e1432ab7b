//! The queries and the ETL write on two executors with plenty of memory, then on two that are held to little, by their own
//! setting and from outside. What the kernel says of them afterwards counts as much as the times.

use selvedge_tests::Outcome;
use selvedge_tests::confine::Confine;
use selvedge_tests::process::Process;
use selvedge_tests::rows::{Order, Rows};
use selvedge_tests::tpch::{self, Query};
use serde::Serialize;

use crate::alone::Alone;
use crate::args::{Memory, Setup};
use crate::etl;
use crate::head::{Head, table, two_places};
use crate::stage::Stage;
use crate::suite::{Expected, queries};

const EXECUTORS: u16 = 2;
/// The most that the second part may take, as a ratio to the first.
const LIMIT: f64 = 1.6;

/// One query or write.
#[derive(Debug, Serialize)]
struct Ran {
    name: String,
    seconds: Option<f64>,
    fault: Option<String>,
}

/// An executor at the end of a part.
#[derive(Debug, Serialize)]
struct End {
    is_alive: bool,
    /// The most that the process itself held; none when it is gone.
    peak_rss_bytes: Option<u64>,
    /// The most that its group held, cached pages included; none without a group.
    peak_group_bytes: Option<u64>,
    limit_hits: Option<u64>,
    oom_kills: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Part {
    name: String,
    memory_bytes: u64,
    enforced_bytes: Option<u64>,
    ran: Vec<Ran>,
    executors: Vec<End>,
}

#[derive(Debug, Serialize)]
struct Figures {
    #[serde(flatten)]
    head: Head,
    enforced_by: String,
    limit_ratio: f64,
    ratio: Option<f64>,
    plenty: Part,
    short: Part,
}

/// What all parts are measured against.
struct Truth {
    queries: Vec<Query>,
    alone: Alone,
    expected: Expected,
    sums: Rows,
}

/// Runs it; false when a result is wrong.
pub fn run(args: &Memory) -> Outcome<bool> {
    let setup = args.basis.setup(EXECUTORS, false);
    let queries = queries(&args.basis.queries)?;
    let data = tpch::data(setup.sf, setup.parts)?;
    let alone = Alone::new(&data.to_string_lossy(), None, setup.cores())?;
    let expected = Expected::of(&alone, &queries)?;
    let sums = etl::right_sums(&alone)?;
    let truth = Truth { queries, alone, expected, sums };

    let plenty = part(&setup, None, &truth)?;
    let held = Setup { memory: args.limit, ..setup.clone() };
    let short = part(&held, Some(args.limit.as_u64()), &truth)?;
    let ratio = plenty.seconds().zip(short.seconds()).map(|(plenty, short)| short / plenty);
    let enforced_by = Confine::new(None).means().to_string();
    Figures { head: Head::new("memory", &setup), enforced_by, limit_ratio: LIMIT, ratio, plenty, short }.finish()
}

fn part(setup: &Setup, enforced_bytes: Option<u64>, truth: &Truth) -> Outcome<Part> {
    let name = setup.memory.to_string();
    let mut stage = Stage::confined(setup, Some(Confine::new(enforced_bytes)))?;
    let mut ran = Vec::new();
    for query in &truth.queries {
        let answer = stage.ours.run(query.sql);
        ran.push(Ran {
            name: format!("q{}", query.number),
            seconds: answer.as_ref().ok().map(|answer| answer.took.as_secs_f64()),
            fault: truth.expected.fault(query, &answer),
        });
        ran.last().iter().for_each(|one| one.say());
    }
    let location = format!("{}/ours/", stage.output);
    let written = etl::write(&stage, "mart", &location);
    let seconds = written.as_ref().ok().map(|answer| answer.took.as_secs_f64());
    // A session remembers what it has listed under a name.
    let table = format!("written_{}", setup.memory.as_u64());
    let fault = match written.and_then(|_| etl::sums(&truth.alone, &table, &location)) {
        Ok(got) => got.difference(&truth.sums, Order::Total),
        Err(error) => Some(error.to_string()),
    };
    let one = Ran { name: "etl write".to_owned(), seconds, fault };
    one.say();
    ran.push(one);
    let executors = stage.cluster.executors().iter_mut().map(|executor| {
        let pressure = executor.pressure();
        Ok(End {
            is_alive: executor.process.exited()?.is_none(),
            peak_rss_bytes: peak_rss_bytes(&executor.process),
            peak_group_bytes: pressure.map(|p| p.peak_bytes),
            limit_hits: pressure.map(|p| p.limit_hits),
            oom_kills: pressure.map(|p| p.oom_kills),
        })
    });
    let executors = executors.collect::<Outcome<_>>()?;
    Ok(Part { name, memory_bytes: setup.memory.as_u64(), enforced_bytes, ran, executors })
}

/// What the kernel keeps as `VmHWM`.
fn peak_rss_bytes(process: &Process) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

impl Ran {
    fn say(&self) {
        eprintln!("{}  {}  {}", self.name, two_places(self.seconds), self.fault.as_deref().unwrap_or_default());
    }
}

impl Part {
    /// None when something did not come to its end.
    fn seconds(&self) -> Option<f64> {
        self.ran.iter().map(|one| one.seconds).sum()
    }

    fn right(&self) -> usize {
        self.ran.iter().filter(|one| one.fault.is_none()).count()
    }

    fn executor_rows(&self) -> impl Iterator<Item = Vec<String>> {
        let count = |value: Option<u64>| value.map_or("-".to_owned(), |v| v.to_string());
        let mebibytes = move |value: Option<u64>| count(value.map(|v| v >> 20));
        self.executors.iter().enumerate().map(move |(number, end)| {
            vec![
                format!("{} executor {number}", self.name),
                mebibytes(self.enforced_bytes),
                if end.is_alive { "yes" } else { "NO" }.to_owned(),
                count(end.oom_kills),
                count(end.limit_hits),
                mebibytes(end.peak_group_bytes),
                mebibytes(end.peak_rss_bytes),
            ]
        })
    }
}

impl Figures {
    fn finish(&self) -> Outcome<bool> {
        self.head.print();
        println!("memory is limited from outside by {}", self.enforced_by);
        let cells = |name: &str, plenty: Option<f64>, short: Option<f64>, note: String| {
            let ratio = plenty.zip(short).map(|(plenty, short)| short / plenty);
            vec![name.to_owned(), two_places(plenty), two_places(short), two_places(ratio), note]
        };
        let pairs = self.plenty.ran.iter().zip(&self.short.ran);
        let mut rows: Vec<_> = pairs
            .map(|(plenty, short)| {
                let faults = [&plenty.fault, &short.fault].into_iter().flatten();
                let note = faults.flat_map(|fault| fault.lines().next()).collect::<Vec<_>>().join("; ");
                cells(&plenty.name, plenty.seconds, short.seconds, note.chars().take(100).collect())
            })
            .collect();
        let limit = format!("limit {LIMIT:.2}");
        rows.push(cells("total", self.plenty.seconds(), self.short.seconds(), limit));
        let (plenty, short) = (format!("{} s", self.plenty.name), format!("{} s", self.short.name));
        println!("{}", table(["", &plenty, &short, "ratio", "note"], rows));
        let heads =
            ["", "limit MiB", "alive", "OOM kills", "at the limit", "peak of the group MiB", "peak of the process MiB"];
        println!("{}", table(heads, self.plenty.executor_rows().chain(self.short.executor_rows()).collect()));
        let mut all_right = true;
        for part in [&self.plenty, &self.short] {
            println!("{}: {} of {} complete and right", part.name, part.right(), part.ran.len());
            all_right &= part.right() == part.ran.len();
        }
        self.head.write(self)?;
        Ok(all_right)
    }
}
