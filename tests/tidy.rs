//! The rules of the house as a test: who may depend on whom, what stays pure, how long a file may be, what never ships.
//!
//! It reads Cargo.toml files and sources and nothing else, so it runs in a second and needs no build of the engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test: a panic is how it fails")]

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use source::{Source, is_test};

/// A file past this is two things.
const MAX_LINES: usize = 500;
/// A file past this is named, so that somebody looks.
const LONG_LINES: usize = 400;

/// What each crate of ours may depend on among ours. `tests`, `benches` and `jobs` stand on top and may use anything.
const MAY_DEPEND: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("proto", &["selvedge-model"]),
    ("engine", &["selvedge-model"]),
    ("scheduler", &["selvedge-model", "selvedge-proto", "selvedge-engine"]),
    ("executor", &["selvedge-model", "selvedge-proto", "selvedge-engine"]),
    ("client", &["selvedge-model", "selvedge-proto"]),
    (
        "cli",
        &["selvedge-model", "selvedge-proto", "selvedge-engine", "selvedge-scheduler", "selvedge-executor", "selvedge"],
    ),
];

/// Where Ballista may be named; everything else meets it through these.
const BALLISTA_IN: &[&str] = &[
    "engine/src/shuffle/",
    "engine/src/plan/codec",
    "engine/src/session/",
    "scheduler/src/ballista/",
    "executor/src/",
];

/// What `model/` may not touch: it decides, others act.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "time::Instant",
    "SystemTime",
    "rand::",
    "tokio",
    "async fn",
];

const UNFINISHED: &[&str] = &["todo!(", "unimplemented!(", "dbg!("];

/// Paths that exist on one machine only, and hosts that answer in one network only.
const MACHINE: &[&str] = &["/root/", "/home/", "/work/", "/Users/"];

fn root() -> PathBuf {
    selvedge_tests::checkout()
}

fn walk(directory: &Path, wanted: &dyn Fn(&str) -> bool, into: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !matches!(name.as_str(), "target" | "node_modules" | "__pycache__") {
                walk(&path, wanted, into);
            }
        } else if wanted(&name) {
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            into.push(Source { path: relative, text: std::fs::read_to_string(&path).unwrap() });
        }
    }
}

fn sources(wanted: &dyn Fn(&str) -> bool) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root(), wanted, &mut found);
    found
}

fn rust() -> Vec<Source> {
    let found = sources(&|name| name.ends_with(".rs"));
    assert!(found.len() > 30, "only {} sources found: is the walk broken?", found.len());
    found
}

#[track_caller]
fn expect_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// The names under a manifest's dependency tables; `dev` too when asked.
fn dependencies(manifest: &str, dev: bool) -> Vec<String> {
    let table: toml::Table = manifest.parse().unwrap();
    let tables = ["dependencies", "build-dependencies", "dev-dependencies"];
    let names = tables.iter().take(if dev { 3 } else { 2 }).filter_map(|t| table.get(*t)?.as_table());
    names.flat_map(|t| t.keys().cloned()).collect()
}

fn manifest(crate_dir: &str) -> String {
    std::fs::read_to_string(root().join(crate_dir).join("Cargo.toml")).unwrap()
}

#[test]
fn dependencies_point_one_way() {
    let mut problems = Vec::new();
    for (name, allowed) in MAY_DEPEND {
        for dependency in dependencies(&manifest(name), true) {
            let ours = dependency == "selvedge" || dependency.starts_with("selvedge-");
            if ours && !allowed.contains(&dependency.as_str()) {
                problems.push(format!("{name}/Cargo.toml: {name} must not depend on {dependency}"));
            }
        }
    }
    expect_none(&problems);
}

#[test]
fn the_client_library_stays_light() {
    let heavy: Vec<String> = dependencies(&manifest("client"), false)
        .into_iter()
        .filter(|d| d.starts_with("ballista") || d.starts_with("aws-") || d == "object_store" || d == "axum")
        .collect();
    assert!(heavy.is_empty(), "client/Cargo.toml: job crates would carry {heavy:?}");
}

#[test]
fn one_table_of_versions() {
    let mut problems = Vec::new();
    for source in sources(&|name| name == "Cargo.toml").iter().filter(|s| s.path != "Cargo.toml") {
        let table: toml::Table = source.text.parse().unwrap();
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, value) in table.get(kind).and_then(toml::Value::as_table).into_iter().flatten() {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    problems.push(format!("{}: {name} must say `workspace = true`", source.path));
                }
            }
        }
    }
    expect_none(&problems);
}

#[test]
fn ballista_is_named_in_few_places() {
    let mut problems = Vec::new();
    let all = rust();
    let test_modules: Vec<String> = all.iter().flat_map(Source::test_modules).collect();
    // A test may look behind the curtain.
    for source in all.iter().filter(|s| !is_test(s, &test_modules)) {
        if BALLISTA_IN.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for (line, code) in source.code() {
            if ["ballista_core", "ballista_scheduler", "ballista_executor"].iter().any(|name| code.contains(name)) {
                problems.push(format!("{}:{line}: Ballista is used outside {BALLISTA_IN:?}", source.path));
            }
        }
    }
    expect_none(&problems);
}

#[test]
fn the_model_is_pure() {
    let mut problems = Vec::new();
    for source in rust().iter().filter(|s| s.path.starts_with("model/")) {
        for (line, code) in source.code() {
            for impure in IMPURE.iter().filter(|impure| code.contains(**impure)) {
                problems.push(format!("{}:{line}: `{impure}` in the pure model", source.path));
            }
        }
    }
    let allowed = ["serde", "thiserror", "proptest"];
    let more: Vec<String> =
        dependencies(&manifest("model"), true).into_iter().filter(|d| !allowed.contains(&d.as_str())).collect();
    problems.extend(more.iter().map(|d| format!("model/Cargo.toml: {d} is more than vocabulary and rules need")));
    expect_none(&problems);
}

#[test]
fn files_are_short() {
    let lengths: BTreeMap<String, usize> = rust().into_iter().map(|s| (s.path, s.text.lines().count())).collect();
    for (path, lines) in lengths.iter().filter(|(_, lines)| **lines > LONG_LINES) {
        println!("long: {path} has {lines} lines");
    }
    let over = lengths.iter().filter(|(_, lines)| **lines > MAX_LINES);
    expect_none(&over.map(|(path, lines)| format!("{path} has {lines} lines: split it")).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is() {
    let silent = rust().into_iter().filter(|s| !s.text.starts_with("//!"));
    expect_none(&silent.map(|s| format!("{}: must open with `//!`", s.path)).collect::<Vec<_>>());
}

#[test]
fn nothing_unfinished_ships() {
    let mut problems = Vec::new();
    for source in rust() {
        for (line, code) in source.code() {
            for found in UNFINISHED.iter().filter(|u| code.contains(**u)) {
                problems.push(format!("{}:{line}: {found}..)", source.path));
            }
        }
    }
    expect_none(&problems);
}

#[test]
fn errors_are_not_unwrapped() {
    let mut problems = Vec::new();
    let all = rust();
    let test_modules: Vec<String> = all.iter().flat_map(Source::test_modules).collect();
    for source in all.iter().filter(|s| !is_test(s, &test_modules)) {
        for (line, code) in source.code() {
            if code.contains(".unwrap()") || code.contains(".expect(") || code.contains(".unwrap_err()") {
                problems.push(format!("{}:{line}: {}", source.path, code.trim()));
            }
        }
    }
    expect_none(&problems);
}

#[test]
fn no_file_names_a_machine() {
    let text = [".rs", ".toml", ".md", ".sh", ".py", ".sql", ".yaml", ".yml", ".proto"];
    let wanted = |name: &str| text.iter().any(|e| name.ends_with(e)) || name == "Makefile";
    let mut all = sources(&wanted);
    walk_into(".ci", &mut all);
    let mut problems = Vec::new();
    for source in all.iter().filter(|s| s.path != "tests/tidy.rs") {
        for (line, text) in source.text.lines().enumerate() {
            for path in MACHINE.iter().filter(|path| names_path(text, path)) {
                problems.push(format!("{}:{}: '{path}' is a path of one machine", source.path, line + 1));
            }
        }
    }
    expect_none(&problems);
}

fn walk_into(directory: &str, into: &mut Vec<Source>) {
    let path = root().join(directory);
    if path.is_dir() {
        walk(&path, &|_| true, into);
    }
}

/// Whether the path stands at the start of a word: `/work/x` does, `net/work/x` and `https://host/home/` do not.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().last();
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:<".contains(c))
    })
}

#[test]
fn a_path_counts_at_the_start_of_a_word_only() {
    assert!(names_path("cd /home/me", "/home/") && !names_path("https://example.org/home/", "/home/"));
}
