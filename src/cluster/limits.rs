//! What a tenant may use, as the tenants' file or the labels of its instances say.

/// Limits of one tenant, over all workers of a proxy. `None` and an empty list mean: no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantLimits {
    /// Clients at a time.
    pub clients: Option<u32>,
    /// Backend connections that are clients' own, at a time.
    pub pinned: Option<u32>,
    /// Requests in one second.
    pub requests_per_second: Option<u32>,
    /// Bytes of requests and replies together in one second.
    pub bytes_per_second: Option<u64>,
    /// Bytes of one request.
    pub request_bytes: Option<u64>,
    /// Commands (`flushall`, `config|set`) and categories (`@dangerous`) that are refused, in
    /// lower case.
    pub deny: Vec<String>,
}
