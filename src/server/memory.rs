//! How much memory there is, and the ceilings of buffers that follow from it: a process that takes
//! more than there is gets no error, it is killed.

use std::fs;
use std::path::Path;

use rlimit::Resource;

use crate::config::Config;

/// Below this not even the smallest sensible request and reply fit.
const BYTES_MIN: u64 = 1 << 20;

/// Lowers the ceilings of a worker's buffers that nobody has set, so that those of all workers
/// together are at most half of the memory.
pub(super) fn fit(config: &mut Config) {
    let Some(memory) = available() else { return };
    let workers = config.workers();
    let defaults = Config::default().limits;
    let limits = &mut config.limits;
    for (option, value, default) in [
        (
            "limit.worker-buffer-bytes",
            &mut limits.worker_buffer_bytes,
            defaults.worker_buffer_bytes,
        ),
        (
            "limit.worker-outbound-bytes",
            &mut limits.worker_outbound_bytes,
            defaults.worker_outbound_bytes,
        ),
    ] {
        let fit = share(memory, workers);
        if *value == default && fit < default {
            *value = fit;
            log::info!(
                "memory: {option} lowered from its default to what fits limit={default} now={fit} \
                 memory={memory} workers={workers}"
            );
        }
    }
    // What one client and one tenant may take of that.
    let (outbound, buffer) = (limits.worker_outbound_bytes, limits.worker_buffer_bytes);
    if limits.client_outbound_bytes == defaults.client_outbound_bytes {
        limits.client_outbound_bytes = limits.client_outbound_bytes.min(outbound / 2);
    }
    if limits.tenant_buffer_bytes == defaults.tenant_buffer_bytes {
        limits.tenant_buffer_bytes = limits.tenant_buffer_bytes.min(buffer / 4);
    }
}

/// A worker's share of half of the memory.
fn share(memory: u64, workers: u16) -> usize {
    let share = memory / 2 / u64::from(workers.max(1));
    usize::try_from(share.max(BYTES_MIN)).unwrap_or(usize::MAX)
}

/// Bytes that this process may have: the least of what the machine has, what its control groups
/// allow, and half of the address space it is allowed, of which threads take some for themselves.
fn available() -> Option<u64> {
    let total = total(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = of_groups(&groups, Path::new("/sys/fs/cgroup"));
    let space = Resource::AS.get_soft().ok();
    let space = space.filter(|&bytes| bytes != rlimit::INFINITY);
    [total, groups, space.map(|bytes| bytes / 2)]
        .into_iter()
        .flatten()
        .min()
}

/// The memory of the machine.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|it| it.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The least that the control groups of this process allow, of either version: `groups` is
/// `/proc/self/cgroup`. In a container the path may be the host's; the root is its own then.
fn of_groups(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|it| it == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = Path::new(path.trim_start_matches('/'));
        let limits = group.ancestors().filter_map(|group| {
            let text = fs::read_to_string(root.join(group).join(file)).ok()?;
            // Without a limit it is `max`.
            text.trim().parse::<u64>().ok()
        });
        limits.min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn workers_share_half_of_the_memory() {
        assert_eq!(share(8 << 30, 4), 1 << 30);
        assert_eq!(share(64 << 20, 2), 16 << 20);
        assert_eq!(share(0, 1), 1 << 20);
        assert_eq!(total("MemFree: 1 kB\nMemTotal:  2048 kB\n"), Some(2 << 20));
        assert_eq!(total("nothing"), None);
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let dir = TempDir::new().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let limit = |groups: &str| of_groups(groups, dir.path());
        assert_eq!(limit("0::/"), None);
        write("a/b/memory.max", "max\n");
        write("a/memory.max", "1000\n");
        write("memory.max", "2000\n");
        assert_eq!(limit("0::/a/b\n"), Some(1000));
        assert_eq!(limit("0::/elsewhere\n"), Some(2000), "the root is its own");
        write("memory/c/memory.limit_in_bytes", "500\n");
        assert_eq!(limit("5:cpu:/c\n4:memory:/c\n0::/a\n"), Some(500));
    }
}
