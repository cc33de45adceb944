//! What the system knows about this process; what it does not tell is left out.

use std::fs;

/// Parts of a second in which Linux tells processor times, on every machine that it runs on.
const TICKS_PER_SECOND: u64 = 100;

/// One moment of this process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// Bytes of memory in use.
    pub resident_bytes: Option<u64>,
    /// Bytes of address space.
    pub virtual_bytes: Option<u64>,
    /// Open files and sockets.
    pub open_fds: Option<u64>,
    /// How many there may be.
    pub max_fds: Option<u64>,
    /// Time on processors, in microseconds.
    pub cpu_us: Option<u64>,
    /// When it started, in microseconds since 1970.
    pub start_us: Option<u64>,
}

impl Process {
    /// Looks into `/proc`, where there is one.
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

/// One of them is only open to look at the others.
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

/// Time on processors, and the start, from this process's numbers and from those of the machine.
fn times(stat: &str, machine: &str) -> (Option<u64>, Option<u64>) {
    // The second field is the program's name, in parentheses, and may have any character in it;
    // the first one behind it is the third.
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
    fn numbers_are_found_in_their_places() {
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
    fn the_system_tells_everything() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(1 << 16), "{process:?}");
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_fds > Some(2) && process.open_fds <= process.max_fds);
        assert!(process.cpu_us.is_some());
        assert!(process.start_us > Some(1_600_000_000_000_000));
    }
}
