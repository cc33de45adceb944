//! The memory that the process may use, and the default limits of buffers that follow from it: a
//! process that uses more is killed, without an error.

use std::fs;
use std::path::Path;

use rlimit::Resource;

use crate::config::Config;

/// Least share of a worker: a smaller buffer has no room for ordinary requests and replies.
const BYTES_MIN: u64 = 1 << 20;

/// Lowers the buffer limits that are not set by an option, so that all workers' buffers take at
/// most half of the memory; and the limits of one client and one tenant in proportion.
pub(super) fn fit(config: &mut Config) {
    if let Some(memory) = available() {
        fit_to(memory, config);
    }
}

fn fit_to(memory: u64, config: &mut Config) {
    let (workers, share) = (config.workers(), share(memory, config.workers()));
    let (defaults, given) = (Config::default().limits, &config.given);
    let lower = |option: &str, value: &mut usize, default: usize, fit: usize| {
        if *value == default && fit < default && !given.contains(&option) {
            *value = fit;
            log::info!(
                "memory: limit lowered limit={option} default={default} bytes={fit} \
                 memory={memory} workers={workers}"
            );
        }
    };
    let limits = &mut config.limits;
    lower(
        "limit.worker-buffer-bytes",
        &mut limits.worker_buffer_bytes,
        defaults.worker_buffer_bytes,
        share,
    );
    lower(
        "limit.worker-outbound-bytes",
        &mut limits.worker_outbound_bytes,
        defaults.worker_outbound_bytes,
        share,
    );
    lower(
        "limit.client-outbound-bytes",
        &mut limits.client_outbound_bytes,
        defaults.client_outbound_bytes,
        limits.worker_outbound_bytes / 2,
    );
    lower(
        "limit.tenant-buffer-bytes",
        &mut limits.tenant_buffer_bytes,
        defaults.tenant_buffer_bytes,
        limits.worker_buffer_bytes / 4,
    );
}

/// One worker's share of half of the memory.
fn share(memory: u64, workers: u16) -> usize {
    let share = memory / 2 / u64::from(workers.max(1));
    usize::try_from(share.max(BYTES_MIN)).unwrap_or(usize::MAX)
}

/// Bytes that this process may use: the least of the machine's memory, the limits of its control
/// groups, and half of its address space limit (threads reserve the rest).
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

/// The lowest limit of this process's control groups, version 1 or 2. `groups` is the content of
/// `/proc/self/cgroup`. In a container the path in it may be that of the host; then the root has
/// the limit.
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
            // Without a limit the file contains `max`.
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
    fn buffers_of_all_workers_fit_in_half_of_the_memory() {
        assert_eq!(share(8 << 30, 4), 1 << 30);
        assert_eq!(share(64 << 20, 2), 16 << 20);
        assert_eq!(share(0, 1), 1 << 20);
        assert_eq!(total("MemFree: 1 kB\nMemTotal:  2048 kB\n"), Some(2 << 20));
        assert_eq!(total("nothing"), None);
    }

    #[test]
    fn limits_set_by_options_are_not_lowered() {
        let limits = |given: Vec<&'static str>| {
            let mut config = Config {
                core_num: 1,
                given,
                ..Config::default()
            };
            fit_to(64 << 20, &mut config);
            let it = config.limits;
            [
                it.worker_buffer_bytes,
                it.worker_outbound_bytes,
                it.client_outbound_bytes,
                it.tenant_buffer_bytes,
            ]
        };
        let mb = 1 << 20;
        assert_eq!(limits(Vec::new()), [32 * mb, 32 * mb, 16 * mb, 8 * mb]);
        let default = Config::default().limits;
        let set = limits(vec![
            "limit.worker-buffer-bytes",
            "limit.client-outbound-bytes",
        ]);
        assert_eq!(set[0], default.worker_buffer_bytes);
        assert_eq!(set[1..3], [32 * mb, default.client_outbound_bytes]);
        let options = ["--limit.worker-buffer-bytes=2147483648".to_owned()];
        let Ok(crate::config::Parsed::Run(config)) = crate::config::parse(options, &|_| None)
        else {
            panic!("a configuration");
        };
        assert_eq!(config.given, ["limit.worker-buffer-bytes"]);
    }

    #[test]
    fn lowest_control_group_limit_applies() {
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
        assert_eq!(
            limit("0::/elsewhere\n"),
            Some(2000),
            "the root group has the limit"
        );
        write("memory/c/memory.limit_in_bytes", "500\n");
        assert_eq!(limit("5:cpu:/c\n4:memory:/c\n0::/a\n"), Some(500));
    }
}
