//! A cluster of real processes on loopback: one scheduler, some executors, all logs in files.
//!
//! Killed on drop. When a test panics, the last lines of every log are printed first.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cli::{self, Selvedge};
use crate::confine::{Confine, Group, Pressure};
use crate::fault_proxy::FaultProxy;
use crate::fleet::Fleet;
use crate::process::{Process, Signal};
use crate::seaweed::S3Access;
use crate::{Outcome, block_on, fail};

const START_LIMIT: Duration = Duration::from_secs(120);

/// What to start.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many executors.
    pub executors: usize,
    /// Tasks that each runs at once.
    pub vcores: usize,
    /// Memory of each, as `--memory` takes it.
    pub memory: String,
    /// Object storage, if any.
    pub s3: Option<S3Access>,
    /// Where shuffle is kept beside the local disks, if anywhere.
    pub shuffle: Option<String>,
    /// Where managed tables go; a local directory unless given.
    pub warehouse: Option<String>,
    /// Puts a proxy between executors and scheduler that loses and doubles messages when told to.
    pub faulty_network: bool,
    /// Further environment of every process.
    pub envs: Vec<(String, String)>,
    /// Holds every executor to a share of memory from outside.
    pub confine: Option<Confine>,
}

/// Where a scheduler is told to listen: free ports, or those that an earlier one had.
struct Ports<'a> {
    grpc: &'a str,
    http: &'a str,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            executors: 2,
            vcores: 1,
            memory: "1GiB".to_owned(),
            s3: None,
            shuffle: None,
            warehouse: None,
            faulty_network: false,
            envs: Vec::new(),
            confine: None,
        }
    }
}

/// What is peculiar to one executor.
#[derive(Debug, Clone, Default)]
pub struct ExecutorOptions {
    /// Where it keeps its files; a directory of the cluster's own unless given.
    pub work_dir: Option<PathBuf>,
    /// Further environment of it alone.
    pub envs: Vec<(String, String)>,
}

/// One executor process and where it listens.
#[derive(Debug)]
pub struct ExecutorProcess {
    /// The process.
    pub process: Process,
    /// Its id.
    pub id: String,
    /// `HOST:PORT` of its metrics and health.
    pub http: String,
    work_dir: PathBuf,
    // After the process, which must end first.
    group: Option<Group>,
}

impl ExecutorProcess {
    /// What its control group saw, if it has one.
    pub fn pressure(&self) -> Option<Pressure> {
        self.group.as_ref().map(Group::pressure)
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    dir: TempDir,
    scheduler: Process,
    executors: Vec<ExecutorProcess>,
    grpc: String,
    http: String,
    proxy: Option<FaultProxy>,
    started: usize,
}

impl Cluster {
    /// Starts it and waits until every executor takes tasks.
    pub fn start(options: ClusterOptions) -> Outcome<Self> {
        let dir = TempDir::new()?;
        std::fs::create_dir(dir.path().join("warehouse"))?;
        let free = Ports { grpc: "127.0.0.1:0", http: "127.0.0.1:0" };
        let (scheduler, [grpc, http]) = start_scheduler("scheduler", &options, dir.path(), &free, &[])?;
        let proxy = match options.faulty_network {
            true => Some(FaultProxy::start(&format!("http://{grpc}"))?),
            false => None,
        };
        let mut cluster = Self { options, dir, scheduler, executors: Vec::new(), grpc, http, proxy, started: 0 };
        for _ in 0..cluster.options.executors {
            cluster.add_executor()?;
        }
        cluster.wait_executors(cluster.options.executors)?;
        Ok(cluster)
    }

    /// Starts one more executor; returns its position.
    pub fn add_executor(&mut self) -> Outcome<usize> {
        self.add_executor_with(ExecutorOptions::default())
    }

    /// Starts one more executor that is not like the others; returns its position.
    pub fn add_executor_with(&mut self, own: ExecutorOptions) -> Outcome<usize> {
        let name = format!("executor-{}", self.started);
        self.started += 1;
        let work_dir = own.work_dir.unwrap_or_else(|| self.dir.path().join(&name));
        std::fs::create_dir_all(&work_dir)?;
        let scheduler = self.proxy.as_ref().map_or_else(|| self.url(), FaultProxy::url);
        let binary = cli::binary()?;
        let (mut command, group) = match &self.options.confine {
            Some(confine) => confine.command(&name, &binary)?,
            None => (cli::clean_command(&binary), None),
        };
        command.args(["executor", "--scheduler", &scheduler, "--memory", &self.options.memory]);
        command.args(["--vcores", &self.options.vcores.to_string()]).arg("--work-dir").arg(&work_dir);
        command.envs(environment(&self.options)).envs(own.envs).current_dir(self.dir.path());
        let mut process = Process::start(&name, command, self.dir.path())?;
        let [id, http] = listening(&mut process, ["executor=", "http="])?;
        self.executors.push(ExecutorProcess { process, id, http, work_dir, group });
        Ok(self.executors.len() - 1)
    }

    /// Ends the scheduler as `kill -9` does, if it has not ended, and starts another one on its store and its ports. `envs` are
    /// for this one alone.
    pub fn restart_scheduler(&mut self, envs: &[(&str, &str)]) -> Outcome<()> {
        self.scheduler.kill()?;
        self.started += 1;
        let name = format!("scheduler-{}", self.started);
        let ports = Ports { grpc: &self.grpc, http: &self.http };
        let (scheduler, _) = start_scheduler(&name, &self.options, self.dir.path(), &ports, envs)?;
        self.scheduler = scheduler;
        self.wait_executors(self.options.executors)
    }

    /// The scheduler's process.
    pub fn scheduler(&mut self) -> &mut Process {
        &mut self.scheduler
    }

    /// The address of the scheduler's store.
    pub fn store(&self) -> String {
        store(self.dir.path())
    }

    /// Waits until the scheduler counts this many executors that take tasks.
    pub fn wait_executors(&self, count: usize) -> Outcome<()> {
        let what = format!("{count} active executors");
        self.fleet()?.wait(&what, START_LIMIT, |f| Ok((f.active_executors()?.len() == count).then_some(())))
    }

    /// `http://HOST:PORT` of the scheduler's API.
    pub fn url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// The command line, pointed at this cluster.
    pub fn cli(&self) -> Outcome<Selvedge> {
        Ok(self.point(Selvedge::new()?))
    }

    /// Any program of ours, pointed at this cluster.
    pub fn point(&self, program: Selvedge) -> Selvedge {
        program.env("SELVEDGE_SCHEDULER", &self.url()).envs(&environment(&self.options)).dir(self.dir.path())
    }

    /// The scheduler's API.
    pub fn fleet(&self) -> Outcome<Fleet> {
        Fleet::new(&self.url())
    }

    /// The proxy of a cluster with a faulty network.
    pub fn proxy(&self) -> Outcome<&FaultProxy> {
        self.proxy.as_ref().ok_or_else(|| fail("this cluster has no fault proxy"))
    }

    /// How many executors were started, whatever has become of them.
    pub fn executor_count(&self) -> usize {
        self.executors.len()
    }

    /// Where an executor keeps its files.
    pub fn work_dir(&mut self, position: usize) -> Outcome<PathBuf> {
        Ok(self.executor(position)?.work_dir.clone())
    }

    /// An executor by its position.
    pub fn executor(&mut self, position: usize) -> Outcome<&mut ExecutorProcess> {
        self.executors.get_mut(position).ok_or_else(|| fail(format!("no executor {position}")))
    }

    /// All executors that were started, ended ones too.
    pub fn executors(&mut self) -> &mut [ExecutorProcess] {
        &mut self.executors
    }

    /// Sends a signal to an executor.
    pub fn signal(&mut self, position: usize, signal: Signal) -> Outcome<()> {
        self.executor(position)?.process.signal(signal)
    }

    /// `kill -9` of an executor.
    pub fn kill_executor(&mut self, position: usize) -> Outcome<()> {
        self.executor(position)?.process.kill()
    }

    /// Sends a signal to the scheduler.
    pub fn signal_scheduler(&mut self, signal: Signal) -> Outcome<()> {
        self.scheduler.signal(signal)
    }

    /// What the scheduler has logged so far.
    pub fn scheduler_log(&self) -> String {
        self.scheduler.stderr()
    }

    /// GET from the scheduler's HTTP port: status and body.
    pub fn scheduler_http(&self, path: &str) -> Outcome<(u16, String)> {
        get(&self.http, path)
    }

    /// GET from an executor's HTTP port.
    pub fn executor_http(&self, position: usize, path: &str) -> Outcome<(u16, String)> {
        get(&self.executors.get(position).ok_or_else(|| fail(format!("no executor {position}")))?.http, path)
    }

    /// A directory of this cluster's own.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The end of every log.
    pub fn logs(&self) -> String {
        let processes = std::iter::once(&self.scheduler).chain(self.executors.iter().map(|e| &e.process));
        processes.map(Process::tail).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs of the cluster:\n{}", self.logs());
        }
    }
}

fn store(dir: &Path) -> String {
    format!("sqlite:{}", dir.join("scheduler.db").display())
}

fn start_scheduler(
    name: &str,
    options: &ClusterOptions,
    dir: &Path,
    ports: &Ports<'_>,
    envs: &[(&str, &str)],
) -> Outcome<(Process, [String; 2])> {
    let local = dir.join("warehouse").to_string_lossy().into_owned();
    let warehouse = options.warehouse.clone().unwrap_or(local);
    let mut command = cli::clean_command(&cli::binary()?);
    command.args(["scheduler", "--listen", ports.grpc, "--http", ports.http, "--warehouse", &warehouse]);
    command.args(["--store", &store(dir)]).envs(environment(options)).envs(envs.iter().copied()).current_dir(dir);
    let mut scheduler = Process::start(name, command, dir)?;
    let listening = listening(&mut scheduler, ["grpc=", "http="])?;
    Ok((scheduler, listening))
}

fn environment(options: &ClusterOptions) -> Vec<(String, String)> {
    let mut envs = options.s3.as_ref().map(S3Access::envs).unwrap_or_default();
    if let Some(shuffle) = &options.shuffle {
        envs.push(("SELVEDGE_SHUFFLE".to_owned(), shuffle.clone()));
    }
    envs.extend_from_slice(&options.envs);
    envs
}

/// Reads `listening KEY=VALUE ...`, the one line that a service prints to standard output.
fn listening<const N: usize>(process: &mut Process, keys: [&str; N]) -> Outcome<[String; N]> {
    let line = process.wait_line(START_LIMIT, |line| line.starts_with("listening "))?;
    let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key)).map(str::to_owned);
    let values: Option<Vec<String>> = keys.iter().map(|key| value(key)).collect();
    values.and_then(|v| v.try_into().ok()).ok_or_else(|| fail(format!("not all of {keys:?} in '{line}'")))
}

fn get(address: &str, path: &str) -> Outcome<(u16, String)> {
    let url = format!("http://{address}{path}");
    let (status, body) = block_on(async {
        let response = reqwest::get(&url).await?;
        let status = response.status().as_u16();
        response.text().await.map(|body| (status, body))
    })??;
    Ok((status, body))
}

/// Runs `check` until it succeeds; its last error when time is up.
pub fn eventually<T>(limit: Duration, check: impl Fn() -> Outcome<T>) -> Outcome<T> {
    let started = Instant::now();
    loop {
        match check() {
            Err(error) if started.elapsed() > limit => return Err(fail(format!("not within {limit:?}: {error}"))),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
            done => return done,
        }
    }
}
