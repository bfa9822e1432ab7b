//! Ends every process that a test binary started, however the binary itself ends.
//!
//! Statics are never dropped, and a killed test runs no destructor. So a small shell holds a pipe from us: it learns each
//! process id, and when the pipe closes, because we are gone, it kills those that are left.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

const SCRIPT: &str = r#"
alive=" "
while read -r verb pid; do
  case "$verb" in
    add) alive="$alive$pid " ;;
    gone) alive=$(printf '%s' "$alive" | sed "s/ $pid / /") ;;
  esac
done
for pid in $alive; do kill -9 "$pid" 2>/dev/null; done
"#;

static PIPE: LazyLock<Mutex<Option<ChildStdin>>> = LazyLock::new(|| {
    let shell = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    Mutex::new(shell.ok().and_then(|mut child| child.stdin.take()))
});

fn tell(line: &str) {
    let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pipe) = pipe.as_mut() {
        // Without the shell a process may be left behind, which is no reason to fail a test.
        let _ = pipe.write_all(line.as_bytes());
    }
}

/// This process is ours to end.
pub fn add(pid: u32) {
    tell(&format!("add {pid}\n"));
}

/// This process has ended and been waited for: its id may be another's now.
pub fn gone(pid: u32) {
    tell(&format!("gone {pid}\n"));
}
