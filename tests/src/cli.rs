//! Runs the real `selvedge` binary as a person or a script does, and keeps what it said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::Process;
use crate::rows::Rows;
use crate::{Outcome, cache, fail};

const LIMIT: Duration = Duration::from_secs(300);

/// The built binary: `$SELVEDGE_BIN`, or the one beside the running test or benchmark in the target directory.
pub fn binary() -> Outcome<PathBuf> {
    program("selvedge", "SELVEDGE_BIN")
}

/// A built program of the workspace, from `variable` or beside the running executable.
pub fn program(name: &str, variable: &str) -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os(variable).filter(|v| !v.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        fail(format!(
            "no `{name}` beside {}: build it with `cargo build --workspace --bins`, or set {variable}",
            own.display()
        ))
    })
}

/// A command without the SELVEDGE_* variables of our own environment, which are settings of the harness.
pub fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        let ours = key.to_string_lossy().starts_with("SELVEDGE_") || key.to_string_lossy().starts_with("AWS_");
        if ours {
            command.env_remove(key);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Output {
    /// The output of a command that had to succeed.
    pub fn succeeded(self) -> Outcome<Self> {
        if self.code == 0 { Ok(self) } else { Err(fail(format!("the command failed\n{}", self.report()))) }
    }

    /// Everything, for messages.
    pub fn report(&self) -> String {
        format!(
            "$ {}\nexit code {} after {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.code, self.took, self.stdout, self.stderr
        )
    }

    /// Standard output as CSV with a header.
    pub fn rows(&self) -> Outcome<Rows> {
        Rows::from_csv(&self.stdout).map_err(|e| fail(format!("{e}\n{}", self.report())))
    }

    /// The run that `submit --format json` names, with and without `--wait`.
    pub fn run_id(&self) -> Outcome<String> {
        let answer = self.json()?;
        let id = ["run", "id"].iter().find_map(|key| answer.get(key)?.as_str());
        id.map(str::to_owned).ok_or_else(|| fail(format!("no run is named\n{}", self.report())))
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Outcome<serde_json::Value> {
        serde_json::from_str(&self.stdout).map_err(|e| fail(format!("not JSON: {e}\n{}", self.report())))
    }
}

/// How to call the binary.
#[derive(Debug, Clone)]
pub struct Selvedge {
    program: PathBuf,
    envs: Vec<(String, String)>,
    dir: Option<PathBuf>,
    limit: Duration,
}

impl Selvedge {
    /// Calls without a scheduler: `run`, `sql` and `demo` are embedded.
    pub fn new() -> Outcome<Self> {
        Ok(Self::of(binary()?))
    }

    /// Calls another program of ours, for example a DataFrame job.
    pub fn of(program: PathBuf) -> Self {
        Self { program, envs: Vec::new(), dir: None, limit: LIMIT }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.envs.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Sets several.
    #[must_use]
    pub fn envs(mut self, envs: &[(String, String)]) -> Self {
        self.envs.extend_from_slice(envs);
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Sets how long a call may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts on a terminal of its own, as a person does: both outputs are its standard output, and Ctrl-C can be typed.
    pub fn start_on_terminal<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome<Started> {
        let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        let program = self.program.as_os_str();
        let line = [OsStr::new("-c"), OsStr::new(spawn), program].into_iter().chain(args.iter().map(AsRef::as_ref));
        let python = Self { program: cache::python()?, ..self.clone() };
        python.start(&line.collect::<Vec<_>>())
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = clean_command(&self.program);
        command.args(args).envs(self.envs.iter().map(|(k, v)| (k, v)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// Runs to the end. An exit code other than 0 is no error here: see [`Output::succeeded`].
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome<Output> {
        let mut started = self.start(args)?;
        let began = Instant::now();
        drop(started.process.take_stdin());
        let status = started.process.wait(self.limit)?;
        Ok(started.output(status.code().unwrap_or(-1), began.elapsed()))
    }

    /// Starts and returns at once.
    pub fn start<S: AsRef<OsStr>>(&self, args: &[S]) -> Outcome<Started> {
        let logs = TempDir::new()?;
        let line: Vec<String> = args.iter().map(|a| a.as_ref().to_string_lossy().into_owned()).collect();
        let name = self.program.file_name().map_or_else(|| "selvedge".into(), OsStr::to_string_lossy);
        let process = Process::start(&name, self.command(args), logs.path())?;
        Ok(Started { process, command: format!("{name} {}", line.join(" ")), _logs: logs })
    }

    /// The rows of one SELECT.
    pub fn query(&self, sql: &str) -> Outcome<Rows> {
        self.run(&["--format", "csv", "sql", "-c", sql])?.succeeded()?.rows()
    }
}

/// A call that runs.
#[derive(Debug)]
pub struct Started {
    /// The process: wait, signal, kill.
    pub process: Process,
    command: String,
    _logs: TempDir,
}

impl Started {
    /// Waits for its end.
    pub fn finish(mut self, limit: Duration) -> Outcome<Output> {
        let began = Instant::now();
        drop(self.process.take_stdin());
        let status = self.process.wait(limit)?;
        Ok(self.output(status.code().unwrap_or(-1), began.elapsed()))
    }

    fn output(&self, code: i32, took: Duration) -> Output {
        Output {
            command: self.command.clone(),
            code,
            stdout: self.process.stdout(),
            stderr: self.process.stderr(),
            took,
        }
    }
}
