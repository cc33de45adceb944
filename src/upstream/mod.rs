//! The servers of this worker: tenants, their instances, the accounts of clients, and the pools of
//! links. Makes no decision about a single request.

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod instance;
pub(crate) mod logins;
pub(crate) mod nodes;
pub(crate) mod permits;
pub(crate) mod pool;
pub(crate) mod tenant;
pub(crate) mod topology;
pub(crate) mod upstreams;
pub(crate) mod wait_queues;
