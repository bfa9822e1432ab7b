//! How much memory this process may use: the least of what its cgroups (v2 or v1) and the machine allow.
//!
//! A container's limit is what the kernel kills for, so it comes before the machine's size. `--memory` overrides.

use std::path::Path;

/// The limit of this process; `None` when nothing says.
pub(super) fn memory_bytes() -> Option<u64> {
    memory_below(Path::new("/"))
}

fn memory_below(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let host = read("proc/meminfo").and_then(|text| total_bytes(&text));
    let groups = read("proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files).filter_map(|file| read(&file)?.trim().parse().ok());
    limits.chain(host).min()
}

/// The files that limit the group named by one line of `/proc/self/cgroup`, and all groups above it. Inside a container the
/// group's own path may not be visible; the root of the mount then is the container's.
fn limit_files(line: &str) -> Vec<String> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|c| c == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let ancestors = Path::new(path).ancestors().map(|group| group.to_string_lossy().trim_matches('/').to_owned());
    ancestors
        .map(|group| [mount, &group, file].iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join("/"))
        .collect()
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        memory_below(root.path())
    }

    const HOST: (&str, &str) = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_least_limit_counts() {
        assert_eq!(machine(&[HOST]), Some(8 << 30));
        let v2 = [HOST, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/memory.max", "max\n")];
        assert_eq!(machine(&v2), Some(8 << 30));
        let above = [v2[0], v2[1], v2[2], ("sys/fs/cgroup/a/memory.max", "1073741824\n")];
        assert_eq!(machine(&above), Some(1 << 30));
        let container = [HOST, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "536870912\n")];
        assert_eq!(machine(&container), Some(512 << 20));
        let v1 = [
            HOST,
            ("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(machine(&v1), Some(2 << 30));
        assert_eq!(machine(&[]), None);
    }
}
