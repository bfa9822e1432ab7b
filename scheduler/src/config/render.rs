//! Prints resolved options as a TOML file with comments, for `--print-config`: what it prints reads back as the same
//! options.
//!
//! Nothing secret is held in options: endpoints with credentials are refused, and the AWS chain keeps its own.

use std::fmt::Write as _;

use humantime_serde::re::humantime::format_duration;

use super::keys::KEYS;
use super::options::{LogFormat, SchedulerOptions, StateStore};

impl SchedulerOptions {
    /// The options as a commented TOML file.
    pub fn render(&self) -> String {
        let mut out =
            String::from("# The scheduler's configuration as resolved: file < SELVEDGE_* environment < flags.\n");
        let mut section = "";
        // Keys of the top level come first: in TOML a section lasts to the end.
        let (top, nested): (Vec<_>, Vec<_>) = KEYS.iter().partition(|k| !k.name.contains('.'));
        for key in top.into_iter().chain(nested) {
            let (table, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if table != section {
                section = table;
                push(&mut out, format_args!("\n[{table}]\n"));
            }
            for line in wrap(key.doc, 100) {
                push(&mut out, format_args!("\n# {line}"));
            }
            let default = if key.default.is_empty() { "none" } else { key.default };
            push(&mut out, format_args!("\n# Default: {default}\n{name} = {}\n", self.value(key.name)));
        }
        out
    }

    fn value(&self, key: &str) -> String {
        match key {
            "listen" => quoted(self.listen),
            "http" => quoted(self.http),
            "warehouse" => quoted(&self.warehouse),
            "shuffle" => quoted(self.shuffle.as_ref().map(ToString::to_string).unwrap_or_default()),
            "store" => match self.store {
                StateStore::Memory => quoted("memory"),
            },
            "s3.endpoint" => quoted(self.s3.endpoint.as_ref().map(ToString::to_string).unwrap_or_default()),
            "s3.region" => quoted(self.s3.region.as_deref().unwrap_or_default()),
            "s3.path_style" => self.s3.path_style.to_string(),
            "s3.profile" => quoted(self.s3.profile.as_deref().unwrap_or_default()),
            "max_running_runs" => self.max_running_runs.to_string(),
            "max_queued_runs" => self.max_queued_runs.to_string(),
            "retained_runs" => self.retained_runs.to_string(),
            "lease" => quoted(format_duration(self.lease)),
            "statement_attempts" => self.statement_attempts.to_string(),
            "target_partitions" => self.target_partitions.to_string(),
            "preview_rows" => self.preview_rows.to_string(),
            "preview_bytes" => self.preview_bytes.as_u64().to_string(),
            "log.format" => match self.log_format {
                LogFormat::Text => quoted("text"),
                LogFormat::Json => quoted("json"),
            },
            _ => quoted(""),
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(text);
}

fn quoted(value: impl ToString) -> String {
    let mut out = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => push(&mut out, format_args!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use crate::config::{KEYS, SchedulerConfig};

    #[test]
    fn what_is_printed_reads_back_as_the_same_options() {
        let flags = [
            ("lease", "7s".to_owned()),
            ("s3.endpoint", "http://127.0.0.1:9000".to_owned()),
            ("warehouse", "s3://b/we\"ird".to_owned()),
        ];
        let printed = SchedulerConfig::load(None, Vec::new(), flags).unwrap().resolve().unwrap().render();
        let path = std::env::temp_dir().join(format!("selvedge-render-{}", std::process::id()));
        std::fs::write(&path, &printed).unwrap();
        let again = SchedulerConfig::load(Some(&path), Vec::new(), []).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(again.values.len(), KEYS.len(), "{printed}");
        assert_eq!(again.resolve().unwrap().render(), printed);
    }
}
