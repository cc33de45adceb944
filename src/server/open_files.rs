//! The limit of open files, and the numbers of clients and backend connections that fit in it.

use std::io;

use crate::config::Config;

/// Descriptors that clients leave free for backend connections.
const BACKEND_DESCRIPTORS: u64 = 1_024;

/// Descriptors of the process itself: connections of the service port, listeners, files, the log,
/// signals.
const OWN_DESCRIPTORS: u64 = 160;

/// Descriptors of a worker: its poll, its waker, and one spare.
const WORKER_DESCRIPTORS: u64 = 3;

/// The range of the default of `backend-pool.tenant-max`.
const TENANT_CONNECTIONS: (u32, u32) = (64, 10_000);

/// The usual default of the soft limit of open files.
const FILES_DEFAULT: u64 = 1_024;

/// Raises the soft limit of open files to the hard limit, and lowers `limit.clients` so that
/// descriptors are left for backend connections and the service port.
pub(super) fn fit(config: &mut Config) {
    fit_to(open_files(rlimit::increase_nofile_limit(u64::MAX)), config);
}

/// The number of files that may be open, given the result of raising the limit. If it cannot be
/// raised, the present limit; if that cannot be read, the usual default.
fn open_files(raised: io::Result<u64>) -> u64 {
    raised.unwrap_or_else(|error| {
        let files = rlimit::Resource::NOFILE.get_soft().unwrap_or(FILES_DEFAULT);
        log::warn!("open files: limit not raised files={files} reason=\"{error}\"");
        files
    })
}

fn fit_to(files: u64, config: &mut Config) {
    let fit = clients_that_fit(files, config.workers());
    let wanted = config.limits.clients;
    if wanted > fit {
        log::warn!(
            "open files: limit lowered limit=limit.clients wanted={wanted} clients={fit} \
             files={files}"
        );
        config.limits.clients = fit;
    }
    if config.backend_pool.tenant_max == 0 {
        let left = files.saturating_sub(config.limits.clients as u64);
        config.backend_pool.tenant_max = tenant_connections(left, config.workers());
    }
}

/// How many connections a worker may have to one instance if `files` descriptors are left beside
/// the clients': half of the worker's share, so that one tenant leaves room for others.
fn tenant_connections(files: u64, workers: u16) -> u32 {
    let own = OWN_DESCRIPTORS + WORKER_DESCRIPTORS * u64::from(workers);
    let share = files.saturating_sub(own) / u64::from(workers.max(1));
    let half = u32::try_from(share / 2).unwrap_or(u32::MAX);
    half.clamp(TENANT_CONNECTIONS.0, TENANT_CONNECTIONS.1)
}

/// How many clients fit into `files` descriptors; at least one.
fn clients_that_fit(files: u64, workers: u16) -> usize {
    let own = OWN_DESCRIPTORS + WORKER_DESCRIPTORS * u64::from(workers);
    // With few descriptors, half of them are for clients.
    let reserve = (own + BACKEND_DESCRIPTORS).min(files / 2);
    usize::try_from(files - reserve)
        .unwrap_or(usize::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_backends_and_service_port() {
        for (files, workers, clients) in [
            (20_000, 2, 18_810),
            (1_024, 2, 512),
            (256, 2, 128),
            (1, 1, 1),
            (0, 1, 1),
        ] {
            assert_eq!(clients_that_fit(files, workers), clients, "{files}");
        }
        assert!(clients_that_fit(u64::MAX, 1_024) > 1 << 40);
    }

    #[test]
    fn tenant_limit_without_a_raised_file_limit() {
        let files = open_files(Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(Some(files), rlimit::Resource::NOFILE.get_soft().ok());
        let mut config = Config::default();
        fit_to(files, &mut config);
        assert!(config.backend_pool.tenant_max >= TENANT_CONNECTIONS.0);
    }

    #[test]
    fn tenant_limit_is_half_of_a_workers_backend_descriptors() {
        for (files, workers, connections) in [
            (1 << 20, 2, 10_000),
            (10_000, 2, 2_458),
            (1_024, 2, 214),
            (100, 1, 64),
            (0, 1, 64),
        ] {
            assert_eq!(tenant_connections(files, workers), connections, "{files}");
        }
    }
}
