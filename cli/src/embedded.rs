//! The engine inside a command: a scheduler and executors in this process, on loopback and free ports. The same code as a
//! cluster's, and the same way to it: through the client.

use std::path::{Path, PathBuf};

use selvedge::Selvedge;
use selvedge::model::HasFailure;
use selvedge_executor::{ExecutorOptions, RunningExecutor};
use selvedge_scheduler::{RunningScheduler, SchedulerOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::args::EmbeddedOptions;
use crate::config;
use crate::error::CliError;

/// An engine that runs in this process.
pub struct Embedded {
    client: Selvedge,
    scheduler: RunningScheduler,
    executors: Vec<RunningExecutor>,
    stop_scheduler: CancellationToken,
    stop_executors: CancellationToken,
    data_dir: DataDir,
}

/// Where tables and shuffle live.
enum DataDir {
    Given(PathBuf),
    Temporary(TempDir),
}

impl DataDir {
    fn new(given: Option<&Path>) -> Result<Self, CliError> {
        let Some(dir) = given else {
            let dir = tempfile::Builder::new().prefix("selvedge-").tempdir();
            return dir.map(Self::Temporary).map_err(|e| CliError::local("cannot make a temporary directory", &e));
        };
        let cannot = |e: std::io::Error| CliError::local(&format!("cannot use --data-dir {}", dir.display()), &e);
        std::fs::create_dir_all(dir).map_err(cannot)?;
        dir.canonicalize().map(Self::Given).map_err(cannot)
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }

    /// The address of the scheduler's store: beside the tables that it names, or gone when they are.
    fn store(&self) -> String {
        match self {
            Self::Given(path) => format!("sqlite:{}", path.join("scheduler.db").display()),
            Self::Temporary(_) => "sqlite::memory:".to_owned(),
        }
    }
}

impl Embedded {
    /// Starts scheduler and executors and connects to them.
    ///
    /// # Errors
    /// When a directory or the configuration cannot be used.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, CliError> {
        let data_dir = DataDir::new(options.data_dir.as_deref())?;
        let (stop_scheduler, stop_executors) = (CancellationToken::new(), CancellationToken::new());
        let scheduler = start_scheduler(&data_dir, stop_scheduler.clone()).await?;
        let address = format!("http://{}", scheduler.grpc);
        let mut engine = Self {
            client: Selvedge::connect(&address).await?,
            scheduler,
            executors: Vec::with_capacity(options.executors),
            stop_scheduler,
            stop_executors,
            data_dir,
        };
        for _ in 0..options.executors {
            match engine.start_executor(&address, options).await {
                Ok(executor) => engine.executors.push(executor),
                Err(error) => {
                    engine.stop().await;
                    return Err(error);
                }
            }
        }
        Ok(engine)
    }

    async fn start_executor(&self, address: &str, options: &EmbeddedOptions) -> Result<RunningExecutor, CliError> {
        let flags = [
            ("scheduler", address.to_owned()),
            ("host", "127.0.0.1".to_owned()),
            ("port", "0".to_owned()),
            ("http", "127.0.0.1:0".to_owned()),
            ("work_dir", work_dir(self.data_dir.path()).to_string_lossy().into_owned()),
            // Nobody else is in need of what is drained: it leaves at once.
            ("drain_grace", "0s".to_owned()),
            ("spot_notice", "off".to_owned()),
        ];
        let sources = config::sources(None, flags.into());
        let mut resolved = ExecutorOptions::load(sources).map_err(config::refused)?;
        resolved.memory_bytes =
            options.memory_bytes.unwrap_or_else(|| resolved.memory_bytes / 10 * 7 / options.executors.max(1) as u64);
        resolved.vcores = options.vcores.unwrap_or_else(|| resolved.vcores.div_ceil(options.executors.max(1)));
        let started = selvedge_executor::start(resolved, self.stop_executors.clone()).await;
        started.map_err(|e| CliError::Failed(Box::new(e.failure())))
    }

    /// The way to it.
    pub fn client(&self) -> &Selvedge {
        &self.client
    }

    /// Where tables and shuffle live.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Whether that is removed at the end.
    pub fn is_temporary(&self) -> bool {
        matches!(self.data_dir, DataDir::Temporary(_))
    }

    /// Stops everything and removes what was temporary.
    pub async fn stop(self) {
        self.stop_executors.cancel();
        for executor in self.executors {
            executor.stopped().await;
        }
        self.stop_scheduler.cancel();
        if let Err(error) = self.scheduler.stopped().await {
            tracing::error!(%error, "the embedded scheduler ended badly");
        }
    }
}

fn work_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("work")
}

async fn start_scheduler(data_dir: &DataDir, stop: CancellationToken) -> Result<RunningScheduler, CliError> {
    let warehouse = data_dir.path().join("warehouse");
    std::fs::create_dir_all(&warehouse).map_err(|e| CliError::local("cannot make the warehouse directory", &e))?;
    let flags = [
        ("listen", "127.0.0.1:0".to_owned()),
        ("http", "127.0.0.1:0".to_owned()),
        ("warehouse", warehouse.to_string_lossy().into_owned()),
        ("store", data_dir.store()),
    ];
    let sources = config::sources(None, flags.into());
    let mut options = SchedulerOptions::load(sources).map_err(config::refused)?;
    // Executors of this machine share a work directory, so results and shuffle are read from it without a detour.
    options.local_shuffle_dir = Some(work_dir(data_dir.path()).join("shuffle"));
    options.upkeep = false;
    selvedge_scheduler::start(options, stop).await.map_err(|e| CliError::Failed(Box::new(e.failure())))
}
