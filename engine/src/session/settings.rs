//! What a script may `SET`.
//!
//! Keys begin with `selvedge.`, `datafusion.` or `ballista.`; an unknown key or an ill-typed value is refused at once,
//! naming the nearest. [`SelvedgeConfig`] carries ours inside a session, so that they are shown and travel with the plan.

use std::any::Any;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use ballista_core::config::BallistaConfig;
use datafusion::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::prelude::SessionConfig;
use selvedge_model::Failure;
use selvedge_model::durability::Durability;

use super::engine::base_config;
use super::known::*;
use crate::error::{EngineError, classify, nearest};

/// Keys that would break what we rely on, and why they are refused.
const REFUSED: [(&str, &str); 3] = [
    ("datafusion.catalog.default_catalog", "there is one catalog"),
    ("datafusion.catalog.create_default_catalog_and_schema", "there is one catalog"),
    ("datafusion.optimizer.enable_round_robin_repartition", "it cannot be distributed"),
];

/// The settings of a script, checked one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    entries: BTreeMap<String, String>,
}

impl Settings {
    /// No settings: all defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one.
    ///
    /// # Errors
    /// `UNKNOWN_SETTING`, naming the nearest key, or `INVALID_SETTING`.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let key = key.trim().to_lowercase();
        if let Some((_, why)) = REFUSED.iter().find(|(k, _)| *k == key) {
            return Err(Failure::user("INVALID_SETTING", format!("{key} cannot be set: {why}")));
        }
        if key.starts_with("selvedge.") {
            let value = normalised(&key, value)?;
            self.entries.insert(key, value);
            return Ok(());
        }
        let mut trial = base_config(1);
        if !trial.options().entries().iter().any(|e| e.key == key) {
            return Err(unknown(&key));
        }
        let refused = |why: String| Failure::user("INVALID_SETTING", format!("{key} cannot be {value}: {why}"));
        // Ballista takes any text and fails when it reads it.
        if let Some(entry) = BallistaConfig::valid_entries().get(&key) {
            BallistaConfig::parse_value(value, entry.data_type().clone()).map_err(&refused)?;
        }
        trial.options_mut().set(&key, value).map_err(|e| refused(classify(&e).cause))?;
        self.entries.insert(key, value.to_owned());
        Ok(())
    }

    /// What was set, by key.
    pub fn entries(&self) -> &BTreeMap<String, String> {
        &self.entries
    }

    /// Size that written files are cut at.
    pub fn target_file_bytes(&self) -> u64 {
        self.parsed(TARGET_FILE_BYTES).unwrap_or(DEFAULT_TARGET_FILE_BYTES)
    }

    /// Codec of written Parquet, as Parquet's own parser reads it: `zstd(3)`.
    pub fn compression(&self) -> &str {
        self.entries.get(COMPRESSION).map_or(DEFAULT_COMPRESSION, String::as_str)
    }

    /// Small files of a partition from which on an `OPTIMIZE` of it follows a write by itself; none when it never does.
    pub fn auto_optimize_files(&self) -> Option<usize> {
        Some(self.parsed(AUTO_OPTIMIZE_FILES).unwrap_or(DEFAULT_AUTO_OPTIMIZE_FILES)).filter(|files| *files > 0)
    }

    /// Whether a write of plain files ends with an empty `_SUCCESS` in the directory.
    pub fn success_file(&self) -> bool {
        self.parsed(SUCCESS_FILE).unwrap_or(false)
    }

    /// Whether plans are adapted while they run, when the script says.
    pub fn adaptive(&self) -> Option<bool> {
        self.parsed(ADAPTIVE)
    }

    /// Partitions to plan for, when the script says.
    pub fn target_partitions(&self) -> Option<usize> {
        self.parsed(TARGET_PARTITIONS)
    }

    /// Largest share of a join's build side that one task may keep in memory, when the script says.
    pub fn hash_join_build_bytes(&self) -> Option<u64> {
        self.parsed(HASH_JOIN_BUILD_BYTES)
    }

    /// Whether `VACUUM` may delete files sooner than the table keeps them.
    pub fn allows_short_retention(&self) -> bool {
        self.parsed(SHORT_RETENTION).unwrap_or(false)
    }

    /// How long each statement may take, when that is limited.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.time(STATEMENT_TIMEOUT)
    }

    /// How long the run may take, when that is limited.
    pub fn run_timeout(&self) -> Option<Duration> {
        self.time(RUN_TIMEOUT)
    }

    fn time(&self, key: &str) -> Option<Duration> {
        humantime::parse_duration(self.entries.get(key)?).ok().filter(|time| !time.is_zero())
    }

    fn parsed<T: FromStr>(&self, key: &str) -> Option<T> {
        self.entries.get(key)?.parse().ok()
    }

    /// Puts them into a session; ours also act on the settings they stand for.
    pub(super) fn apply(&self, config: &mut SessionConfig) -> Result<(), EngineError> {
        for (key, value) in &self.entries {
            config.options_mut().set(key, value)?;
        }
        if let Some(partitions) = self.target_partitions() {
            config.options_mut().execution.target_partitions = partitions;
        }
        if let Some(adaptive) = self.adaptive() {
            config.options_mut().set("ballista.planner.adaptive.enabled", &adaptive.to_string())?;
        }
        Ok(())
    }
}

/// Size below which a build side is given whole to every task, as a session says.
pub(crate) fn broadcast_limit(options: &ConfigOptions) -> usize {
    let limit = BallistaConfig::broadcast_join_threshold_bytes;
    options.extensions.get::<BallistaConfig>().map_or_else(|| limit(&BallistaConfig::default()), limit)
}

/// Largest share of a join's build side that one task may keep in memory, as a session says.
pub(crate) fn hash_join_build_bytes(options: &ConfigOptions) -> u64 {
    ours(options, HASH_JOIN_BUILD_BYTES).unwrap_or(DEFAULT_HASH_JOIN_BUILD_BYTES)
}

/// When a task's output is copied to the shuffle location, as a session says.
pub fn shuffle_durability(options: &ConfigOptions) -> Durability {
    ours(options, DURABILITY).unwrap_or_default()
}

/// Whether a task that is far slower than its peers may be run once more elsewhere, as a session says.
pub fn may_speculate(options: &ConfigOptions) -> bool {
    ours(options, SPECULATION).unwrap_or(true)
}

fn ours<T: FromStr>(options: &ConfigOptions, key: &str) -> Option<T> {
    options.extensions.get::<SelvedgeConfig>()?.values.get(key)?.parse().ok()
}

fn normalised(key: &str, value: &str) -> Result<String, Failure> {
    let known = KNOWN.iter().find(|k| k.key == key).ok_or_else(|| unknown(key))?;
    (known.normal)(value.trim()).ok_or_else(|| {
        Failure::user("INVALID_SETTING", format!("{key} cannot be {value}"))
            .with_hint(format!("It takes {}", known.expected))
    })
}

fn unknown(key: &str) -> Failure {
    let failure = Failure::user("UNKNOWN_SETTING", format!("there is no setting {key}"));
    let config = base_config(1);
    let entries = config.options().entries();
    match nearest(key, entries.iter().map(|e| e.key.as_str())) {
        Some(near) => failure.with_hint(format!("Did you mean {near}?")),
        None => failure.with_hint(format!(
            "SHOW ALL lists them; ours are {}",
            KNOWN.iter().map(|k| k.key).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Our settings inside a session.
#[derive(Debug, Clone, Default)]
pub(super) struct SelvedgeConfig {
    values: BTreeMap<String, String>,
}

impl ConfigExtension for SelvedgeConfig {
    const PREFIX: &'static str = "selvedge";
}

impl ExtensionOptions for SelvedgeConfig {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> DataFusionResult<()> {
        let key = format!("selvedge.{key}");
        let value = normalised(&key, value).map_err(|f| DataFusionError::External(Box::new(f)))?;
        self.values.insert(key, value);
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        KNOWN
            .iter()
            .map(|known| ConfigEntry {
                key: known.key.to_owned(),
                value: self.values.get(known.key).cloned().or_else(|| known.default.map(str::to_owned)),
                description: known.description,
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
