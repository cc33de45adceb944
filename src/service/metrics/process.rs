//! The system's figures of this process; figures that the system does not have are left out.

use std::fs;

/// The unit in which Linux gives processor times, on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// The figures at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Bytes of resident memory.
    pub resident_bytes: Option<u64>,
    /// Bytes of address space.
    pub virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The soft limit of file descriptors.
    pub max_fds: Option<u64>,
    /// Processor time, in microseconds.
    pub cpu_us: Option<u64>,
    /// Start time, in microseconds since 1970.
    pub start_us: Option<u64>,
}

impl Process {
    /// Reads `/proc`, if there is one.
    pub(super) fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (status, stat) = (read("/proc/self/status"), read("/proc/self/stat"));
        let (resident_bytes, virtual_bytes) = memory(&status);
        let (cpu_us, start_us) = times(&stat, &read("/proc/stat"));
        Self {
            resident_bytes,
            virtual_bytes,
            open_fds: open_fds(),
            max_fds: rlimit::Resource::NOFILE.get_soft().ok(),
            cpu_us,
            start_us,
        }
    }
}

/// One descriptor is open only to read the directory.
fn open_fds() -> Option<u64> {
    let n = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(n).ok()?.checked_sub(1)
}

/// Resident and virtual bytes: `VmRSS:      1692 kB`.
fn memory(status: &str) -> (Option<u64>, Option<u64>) {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    (bytes("VmRSS:"), bytes("VmSize:"))
}

/// Processor time and start time, from `/proc/self/stat` and `/proc/stat`.
fn times(stat: &str, machine: &str) -> (Option<u64>, Option<u64>) {
    // The second field is the program's name, in parentheses, which may contain any character; the
    // first field after it is the third.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = |n: usize| -> Option<u64> {
        let ticks: u64 = fields
            .split_whitespace()
            .nth(n.checked_sub(3)?)?
            .parse()
            .ok()?;
        ticks.checked_mul(1_000_000 / TICKS_PER_SECOND)
    };
    let cpu = ticks(14).zip(ticks(15)).map(|(user, system)| user + system);
    let boot = || -> Option<u64> {
        let line = machine
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse::<u64>().ok()?.checked_mul(1_000_000)
    };
    let start = ticks(22)
        .zip(boot())
        .map(|(after, boot)| boot.saturating_add(after));
    (cpu, start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_proc_files_are_parsed() {
        let status = "Name:\tVmRSS: 1 kB\nVmSize:\t    3060 kB\nVmRSS:\t    1692 kB\n";
        assert_eq!(memory(status), (Some(1692 << 10), Some(3060 << 10)));
        let stat = "20289 (a (b) 7 8) R 1 1 1 0 -1 4194304 103 0 0 0 250 31 0 0 20 0 1 0 1207316 1";
        let machine = "cpu 1 2\nbtime 1795552298\nprocesses 5\n";
        let start = 1_795_552_298_000_000 + 12_073_160_000;
        assert_eq!(times(stat, machine), (Some(2_810_000), Some(start)));
        assert_eq!(memory(""), (None, None));
        assert_eq!(times("", ""), (None, None));
        assert_eq!(memory("VmRSS: x kB\nVmSize: 1 MB"), (None, None));
        assert_eq!(times("1 (x) R x", "btime x"), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn all_figures_are_available_on_linux() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(1 << 16), "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_fds > Some(2) && process.open_fds <= process.max_fds);
        assert!(process.cpu_us.is_some());
        assert!(process.start_us > Some(1_600_000_000_000_000));
    }
}
