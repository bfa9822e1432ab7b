//! A disk that can be filled: a small file system in memory, where this process may mount one.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use selvedge_tests::Outcome;
use tempfile::TempDir;

const SIZE: &str = "size=64m";
static BLOCK: [u8; 64 * 1024] = [0; 64 * 1024];

#[derive(Debug)]
pub struct SmallDisk {
    dir: TempDir,
    is_mounted: bool,
}

impl SmallDisk {
    pub fn new() -> Outcome<Self> {
        let dir = TempDir::new()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "none"]).arg(dir.path()).stderr(Stdio::null());
        let is_mounted = mount.status().is_ok_and(|status| status.success());
        Ok(Self { dir, is_mounted })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Without a mount of its own, the quota on spilled bytes is what is full, from the start.
    pub fn envs(&self) -> Vec<(String, String)> {
        let quota = [("SELVEDGE_SPILL_LIMIT".to_owned(), "64KiB".to_owned())];
        if self.is_mounted { Vec::new() } else { quota.to_vec() }
    }

    /// Leaves no byte free.
    pub fn fill(&self) -> Outcome<()> {
        if self.is_mounted {
            let mut ballast = File::create(self.ballast())?;
            while ballast.write_all(&BLOCK).is_ok() {}
        }
        Ok(())
    }

    /// Takes back what [`Self::fill`] wrote.
    pub fn free(&self) -> Outcome<()> {
        if self.is_mounted {
            std::fs::remove_file(self.ballast())?;
        }
        Ok(())
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: a process that is being killed may still be in it.
            let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
        }
    }
}
