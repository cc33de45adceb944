//! Calls that inspect the proxy: readiness, clients, pools.

use tinyjson::JsonValue;

use crate::cluster::json;
use crate::proxy::{ClientStats, PinReason, PoolStats, StatsRequest};

use super::access::Access;
use super::context::{Answer, Context};
use super::envelope::{failure, success};
use super::http::{Request, Response};
use super::input::query;
use super::limits::CLIENTS_MAX;

/// Default of the parameter `limit`.
const CLIENTS: usize = 1_000;

/// `GET /readyz`
pub(super) fn ready(context: &Context, _: &Request, _: Access) -> Result<Answer, Response> {
    let text = |text: &str| JsonValue::String(text.to_owned());
    let (status, object) = match context.control.ready() {
        Ok(()) => (200, json::object([("status", text("ok"))])),
        Err(why) => {
            let fields = [("status", text("unavailable")), ("reason", text(&why))];
            (503, json::object(fields))
        }
    };
    Ok(Answer::Now(Response::json(status, json::text(&object))))
}

/// `GET /clients[?tenant=KEY_OR_ALIAS][&limit=N]`
pub(super) fn clients(context: &Context, request: &Request, _: Access) -> Result<Answer, Response> {
    let query = query(request, &["tenant", "limit"])?;
    let limit = query.number("limit", 1, CLIENTS_MAX as u64);
    let limit = limit.map_err(|error| failure(400, error))?;
    // Within the range that was checked above.
    let limit = limit.map_or(CLIENTS, |limit| limit as usize);
    let tenant = query.get("tenant").map(|name| context.tenant(name));
    let wanted = StatsRequest::Clients(limit, tenant.transpose()?);
    let mut clients = Vec::new();
    for stats in context.control.collect_stats(&wanted) {
        clients.extend(stats.clients.into_iter().map(|it| (stats.worker, it)));
    }
    clients.sort_unstable_by_key(|(_, client)| client.id);
    clients.truncate(limit);
    let clients = clients.iter().map(|(worker, it)| client(*worker, it));
    Ok(Answer::Now(success(
        200,
        clients.collect::<Vec<_>>().into(),
    )))
}

/// `GET /pools`
pub(super) fn pools(context: &Context, request: &Request, _: Access) -> Result<Answer, Response> {
    query(request, &[])?;
    let mut pools = Vec::new();
    for stats in context.control.collect_stats(&StatsRequest::Pools) {
        pools.extend(stats.pools.iter().map(|it| pool(stats.worker, it)));
    }
    Ok(Answer::Now(success(200, pools.into())))
}

fn client(worker: u16, it: &ClientStats) -> JsonValue {
    json::object([
        ("worker", number(worker)),
        ("id", number(it.id)),
        ("peer", it.peer.to_string().into()),
        ("tenant", text(it.tenant.as_ref())),
        ("instance", text(it.instance.as_ref())),
        ("user", it.user.clone().into()),
        ("name", it.name.clone().into()),
        ("db", number(it.db)),
        ("protocol", number(it.protocol)),
        ("age_seconds", number(it.age_seconds)),
        ("idle_seconds", number(it.idle_seconds)),
        ("in_flight", number(it.in_flight)),
        ("outbound_bytes", number(it.outbound_bytes as u64)),
        ("kept_bytes", number(it.kept_bytes as u64)),
        ("pinned", text(it.pinned.map(PinReason::name))),
        ("command", it.command.clone().into()),
    ])
}

fn pool(worker: u16, it: &PoolStats) -> JsonValue {
    json::object([
        ("worker", number(worker)),
        ("tenant", it.tenant.to_string().into()),
        ("instance", it.instance.to_string().into()),
        ("user", it.user.clone().into()),
        ("db", number(it.db)),
        ("protocol", number(it.protocol)),
        ("clients", number(it.clients)),
        ("shared", number(it.shared as u64)),
        ("own", number(it.dedicated as u64)),
        ("idle", number(it.idle as u64)),
        ("in_flight", number(it.in_flight)),
        ("waiting", number(it.waiting as u64)),
        ("oldest_wait_ms", number(it.oldest_wait_ms)),
    ])
}

/// A count, exact up to 2^53.
fn number(n: impl Into<u64>) -> JsonValue {
    JsonValue::Number(n.into() as f64)
}

/// A text, or null.
fn text(text: Option<impl ToString>) -> JsonValue {
    text.map_or(JsonValue::Null, |text| text.to_string().into())
}
