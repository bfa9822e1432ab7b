//! What the command line means, row by row.

use clap::Parser as _;

use super::*;
use crate::terminal::ColorChoice;

fn invocation(line: &str) -> Result<Invocation, Box<Failure>> {
    // The environment of whoever runs the tests must not decide.
    let scheduler = if line.contains("--scheduler") { "" } else { "--scheduler= " };
    let cli = Cli::try_parse_from(format!("selvedge {scheduler}{line}").split_whitespace()).unwrap();
    resolve(cli, Terminal::plain(ColorChoice::Never))
}

fn command(line: &str) -> Command {
    invocation(line).unwrap().command
}

fn problem(line: &str) -> Failure {
    *invocation(line).unwrap_err()
}

#[test]
fn run_is_embedded_unless_a_scheduler_is_named() {
    let Command::Run { target, given, .. } =
        command("run job.sql -p ds=2026-01-01 --timeout 2h --executors 2 --executor-memory 2GiB")
    else {
        panic!()
    };
    let options = EmbeddedOptions { data_dir: None, executors: 2, memory_bytes: Some(2 << 30), vcores: None };
    assert_eq!(target, Target::Embedded(options));
    assert_eq!(given.params, BTreeMap::from([("ds".into(), "2026-01-01".into())]));
    assert_eq!(given.settings, BTreeMap::from([("selvedge.run.timeout".into(), "2h".into())]));
    let Command::Run { target, .. } = command("run job.sql --scheduler http://h:1") else { panic!() };
    assert_eq!(target, Target::Cluster("http://h:1".into()));
}

#[test]
fn engine_flags_contradict_a_scheduler() {
    let failure = problem("run job.sql --scheduler http://h:1 --executors 2");
    assert!(failure.cause.contains("--executors"), "{failure}");
}

#[test]
fn commands_that_need_a_scheduler_say_so() {
    for line in ["submit job.sql", "runs list", "runs show r1", "executors list", "executors drain e1"] {
        assert_eq!(problem(line).code, "NO_SCHEDULER", "{line}");
    }
}

#[test]
fn sql_reads_the_flag_the_file_or_the_pipe() {
    let script = |line: &str| match command(line) {
        Command::Sql { script, .. } => script,
        other => panic!("{other:?}"),
    };
    assert_eq!(script("sql -c SELECT"), ScriptSource::Text("SELECT".into()));
    assert_eq!(script("sql q.sql"), ScriptSource::File("q.sql".into()));
    assert_eq!(script("sql -"), ScriptSource::Stdin);
    assert_eq!(script("sql"), ScriptSource::Stdin);
    let cli = Cli::try_parse_from(["selvedge", "--scheduler=", "sql"]).unwrap();
    let typed = Terminal { stdin_tty: true, ..Terminal::plain(ColorChoice::Never) };
    assert_eq!(resolve(cli, typed).unwrap_err().code, "USAGE");
}

#[test]
fn a_parameter_given_twice_is_refused() {
    assert!(problem("run j.sql -p a=1 -p a=2").cause.contains("'a'"));
}

#[test]
fn a_bad_run_id_is_refused_before_anyone_is_asked() {
    assert!(problem("runs show ../x --scheduler http://h:1").cause.contains("run id"));
}

#[test]
fn scheduler_flags_become_configuration_keys() {
    let Command::Scheduler(flags) = command("scheduler --listen 0.0.0.0:1 --log-format json") else { panic!() };
    assert_eq!(flags.flags, [("listen", "0.0.0.0:1".to_owned()), ("log.format", "json".to_owned())]);
}

/// Adds the path and flags of each command that does something.
fn leaves(command: &clap::Command, path: &str, into: &mut Vec<(String, Vec<String>)>) {
    let mut subcommands = command.get_subcommands().filter(|c| c.get_name() != "help").peekable();
    if subcommands.peek().is_none() {
        let own = command.get_arguments().filter(|a| !a.is_global_set());
        let flags = own.filter_map(clap::Arg::get_long).filter(|long| !["help", "version"].contains(long));
        into.push((path.to_owned(), flags.map(|long| format!("--{long}")).collect()));
    }
    for c in subcommands {
        leaves(c, format!("{path} {}", c.get_name()).trim(), into);
    }
}

#[test]
fn the_documentation_has_every_command_with_its_flags() {
    let docs = include_str!("../../../docs/cli.md");
    let mut commands = Vec::new();
    leaves(&<Cli as clap::CommandFactory>::command(), "", &mut commands);
    assert!(commands.len() > 10, "{commands:?}");
    for (path, flags) in commands {
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{path}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/cli.md has no row for `{path}`"));
        let documented: Vec<&str> =
            row.split(['`', ' ', '/', ',', '\\']).filter(|word| word.starts_with("--")).collect();
        assert_eq!(
            documented.iter().filter(|f| !flags.iter().any(|flag| flag == *f)).count(),
            0,
            "{path}: {documented:?}"
        );
        for flag in flags {
            assert!(documented.contains(&flag.as_str()), "docs/cli.md: the row of `{path}` lacks {flag}");
        }
    }
}

#[test]
fn the_global_flags_may_stand_anywhere() {
    for line in ["--format json runs list --scheduler http://h:1", "runs list --scheduler http://h:1 --format json"] {
        let invocation = invocation(line).unwrap();
        assert_eq!(invocation.format, Format::Json);
        assert!(matches!(invocation.command, Command::RunsList { limit: 20, .. }));
    }
}

#[test]
fn no_vcores_is_wrong_usage() {
    for line in ["executor --vcores 0", "run job.sql --vcores 0", "sql -c SELECT --vcores 0", "demo --vcores 0"] {
        let error = Cli::try_parse_from(format!("selvedge {line}").split_whitespace()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        let text = error.to_string();
        assert!(text.contains("'0'") && text.contains("--vcores") && text.contains("from 1 to 1024"), "{text}");
    }
}
