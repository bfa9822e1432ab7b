//! One child process with its output in files: started, awaited, signalled, and killed on drop.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::{Outcome, fail, reaper};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The signals that tests send.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// As Ctrl-C does.
    Interrupt,
    /// Asks to end: an executor drains.
    Terminate,
    /// Ends at once.
    Kill,
    /// Freezes.
    Stop,
    /// Thaws.
    Continue,
}

impl Signal {
    fn flag(self) -> &'static str {
        match self {
            Self::Interrupt => "-INT",
            Self::Terminate => "-TERM",
            Self::Kill => "-KILL",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
        }
    }
}

/// A running or ended child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`; its output goes to `NAME.out` and `NAME.err` in `log_dir`.
    pub fn start(name: &str, mut command: Command, log_dir: &Path) -> Outcome<Self> {
        let stdout = log_dir.join(format!("{name}.out"));
        let stderr = log_dir.join(format!("{name}.err"));
        command.stdin(Stdio::piped()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let child = command.spawn().map_err(|e| fail(format!("cannot start {name} ({command:?}): {e}")))?;
        reaper::add(child.id());
        Ok(Self { name: name.to_owned(), child, stdout, stderr, ended: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, once; dropping it closes it.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// What it has printed to standard output so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has printed to standard error so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// Sends a signal; one to a process that has ended is ignored.
    pub fn signal(&mut self, signal: Signal) -> Outcome<()> {
        if self.exited()?.is_none() {
            Command::new("kill").args([signal.flag(), &self.pid().to_string()]).stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// Ends it at once and waits until it is gone.
    pub fn kill(&mut self) -> Outcome<()> {
        if self.exited()?.is_none() {
            self.child.kill()?;
            self.ended = Some(self.child.wait()?);
            reaper::gone(self.pid());
        }
        Ok(())
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Outcome<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                reaper::gone(self.pid());
            }
        }
        Ok(self.ended)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                return Err(fail(format!("{} has not ended within {limit:?}\n{}", self.name, self.tail())));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits for a whole line of standard output that `wanted` accepts.
    pub fn wait_line(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Outcome<String> {
        self.wait_output(limit, |process| {
            let text = process.stdout();
            let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
            whole.lines().find(|line| wanted(line)).map(str::to_owned)
        })
    }

    /// Waits until it has printed a text, to either output.
    pub fn wait_text(&mut self, limit: Duration, text: &str) -> Outcome<()> {
        let said = |process: &Self| process.stderr().contains(text) || process.stdout().contains(text);
        self.wait_output(limit, |process| said(process).then_some(()))
    }

    /// Types: writes to its standard input.
    pub fn type_in(&mut self, keys: &[u8]) -> Outcome<()> {
        let stdin = self.child.stdin.as_mut().ok_or_else(|| fail("standard input is closed"))?;
        stdin.write_all(keys)?;
        Ok(stdin.flush()?)
    }

    fn wait_output<T>(&mut self, limit: Duration, look: impl Fn(&Self) -> Option<T>) -> Outcome<T> {
        let started = Instant::now();
        loop {
            let ended = self.exited()?;
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = ended {
                return Err(fail(format!("{} ended early with {status}\n{}", self.name, self.tail())));
            }
            if started.elapsed() > limit {
                return Err(fail(format!("{} did not say it within {limit:?}\n{}", self.name, self.tail())));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// The last lines of its output, for messages.
    pub fn tail(&self) -> String {
        format!("--- {0} stdout\n{1}\n--- {0} stderr\n{2}", self.name, last(&self.stdout()), last(&self.stderr()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing is left to tell when even the kill fails.
        let _ = self.kill();
    }
}

fn read_lossy(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn last(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
}
