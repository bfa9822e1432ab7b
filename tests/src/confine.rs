//! Holds a process to a share of memory from outside, as a container's limit does: a control group of its own where one can be
//! made (version 1 or 2), the shell's limit of the address space elsewhere.
//!
//! A group without a limit only measures.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fmt, fs};

use crate::cli::clean_command;
use crate::{Outcome, fail};

const V1_ROOT: &str = "/sys/fs/cgroup/memory";
const V2_ROOT: &str = "/sys/fs/cgroup";
const REMOVE_TRIES: u32 = 20;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// How memory is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A control group, version 1: the kernel takes back cached pages at the limit, then kills.
    CgroupV1,
    /// The same, version 2.
    CgroupV2,
    /// `ulimit -v`: address space, of which a process reserves more than it uses. Allocations fail at the limit.
    AddressSpace,
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CgroupV1 => "cgroup v1",
            Self::CgroupV2 => "cgroup v2",
            Self::AddressSpace => "ulimit -v",
        })
    }
}

/// A limit for each of some processes.
#[derive(Debug, Clone)]
pub struct Confine {
    means: Means,
    limit_bytes: Option<u64>,
}

impl Confine {
    /// By the best means that this machine has.
    pub fn new(limit_bytes: Option<u64>) -> Self {
        let works = |means: &Means| Group::make(*means, "probe", Some(1 << 30)).is_ok();
        let means = [Means::CgroupV1, Means::CgroupV2].into_iter().find(works).unwrap_or(Means::AddressSpace);
        Self { means, limit_bytes }
    }

    /// By which means.
    pub fn means(&self) -> Means {
        self.means
    }

    /// A command that runs `program` within the limit, under the same process id, and the group it runs in.
    pub fn command(&self, name: &str, program: &Path) -> Outcome<(Command, Option<Group>)> {
        let mut command = clean_command(Path::new("sh"));
        if self.means == Means::AddressSpace {
            let limit = self.limit_bytes.map_or_else(|| "unlimited".to_owned(), |bytes| (bytes >> 10).to_string());
            command.args(["-c", r#"ulimit -v "$0" && exec "$@""#, &limit]).arg(program);
            return Ok((command, None));
        }
        let group = Group::make(self.means, name, self.limit_bytes)?;
        command.args(["-c", r#"echo $$ >"$0" && exec "$@""#]).arg(group.path.join("cgroup.procs")).arg(program);
        Ok((command, Some(group)))
    }
}

/// What a group saw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pressure {
    /// The most it held, files in the page cache included.
    pub peak_bytes: u64,
    /// How often it stood at its limit and had to give something back.
    pub limit_hits: u64,
    /// Processes of it that the kernel killed.
    pub oom_kills: u64,
}

/// A control group of one process. Removed on drop, when the process must be gone.
#[derive(Debug)]
pub struct Group {
    means: Means,
    path: PathBuf,
}

impl Group {
    fn make(means: Means, name: &str, limit_bytes: Option<u64>) -> Outcome<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = if means == Means::CgroupV1 { V1_ROOT } else { V2_ROOT };
        let path = Path::new(root).join(format!("selvedge-{}-{number}-{name}", std::process::id()));
        let (limit, swap) = match means {
            Means::CgroupV1 => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
            _ => ("memory.max", "memory.swap.max"),
        };
        fs::create_dir(&path)?;
        let group = Self { means, path };
        if !group.path.join(limit).is_file() {
            return Err(fail(format!("{} does not count memory", group.path.display())));
        }
        if let Some(bytes) = limit_bytes {
            fs::write(group.path.join(limit), bytes.to_string())?;
            // Version 1 limits memory and swap together, version 2 swap alone. Neither file is there without swap accounting.
            let most = if means == Means::CgroupV1 { bytes } else { 0 };
            let _ = fs::write(group.path.join(swap), most.to_string());
        }
        Ok(group)
    }

    /// What it has seen so far.
    pub fn pressure(&self) -> Pressure {
        let read = |file: &str| fs::read_to_string(self.path.join(file)).unwrap_or_default();
        let whole = |file: &str| read(file).trim().parse().unwrap_or_default();
        if self.means == Means::CgroupV1 {
            return Pressure {
                peak_bytes: whole("memory.max_usage_in_bytes"),
                limit_hits: whole("memory.failcnt"),
                oom_kills: field(&read("memory.oom_control"), "oom_kill"),
            };
        }
        let events = read("memory.events");
        Pressure {
            peak_bytes: whole("memory.peak"),
            limit_hits: field(&events, "max"),
            oom_kills: field(&events, "oom_kill"),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was waited for may still count for a moment. An empty group that stays costs nothing.
        for _ in 0..REMOVE_TRIES {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The number after a word that begins a line.
fn field(text: &str, name: &str) -> u64 {
    let values = text.lines().filter_map(|line| line.split_once(' '));
    values.filter(|(key, _)| *key == name).find_map(|(_, value)| value.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!((field(text, "oom_kill"), field(text, "oom")), (3, 0));
    }
}
