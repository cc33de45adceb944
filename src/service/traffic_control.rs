//! Calls that control traffic: pause and resume a tenant, drain the process.

use crate::cluster::json::{self, Node};
use crate::cluster::{JsonError, TenantKey};
use crate::proxy::StatsRequest;

use super::access::Access;
use super::context::{Answer, Context};
use super::envelope::success;
use super::http::{Request, Response};
use super::input::{bad_json, text};
use super::limits::PAUSE_SECONDS_MAX;

/// Default of the field `seconds`.
const PAUSE_SECONDS: u64 = 30;

/// `POST /pause`
pub(super) fn pause(context: &Context, request: &Request, _: Access) -> Result<Answer, Response> {
    let (tenant, seconds) = tenant_and_seconds(context, request)?;
    context.control.pause(&tenant, seconds * 1000);
    wait_for_workers(context);
    let data = json::object([
        ("tenant", tenant.to_string().into()),
        // Exact: it is a small number.
        ("seconds", (seconds as f64).into()),
    ]);
    Ok(Answer::Now(success(200, data)))
}

/// `POST /resume`
pub(super) fn resume(context: &Context, request: &Request, _: Access) -> Result<Answer, Response> {
    let (tenant, _) = tenant_and_seconds(context, request)?;
    context.control.resume(&tenant);
    wait_for_workers(context);
    let data = json::object([("tenant", tenant.to_string().into())]);
    Ok(Answer::Now(success(200, data)))
}

/// `POST /drain`
pub(super) fn drain(context: &Context, _: &Request, _: Access) -> Result<Answer, Response> {
    context.control.drain();
    Ok(Answer::done(202))
}

/// Waits until all workers have taken the message before this, so that the response confirms it.
/// Workers take messages in order.
fn wait_for_workers(context: &Context) {
    context
        .control
        .collect_stats(&StatsRequest::Clients(0, None));
}

/// The tenant that a body names, and the seconds.
fn tenant_and_seconds(context: &Context, request: &Request) -> Result<(TenantKey, u64), Response> {
    let (tenant, seconds) = json::read(text(request)?, |node| {
        for (name, field) in node.fields()? {
            if !["tenant", "cluster", "seconds"].contains(&name) {
                return Err(field.wrong("unknown field; allowed: tenant, cluster, seconds"));
            }
        }
        let seconds = node.field("seconds")?;
        let seconds = seconds.map(|node| node.whole(1, PAUSE_SECONDS_MAX));
        Ok((tenant(context, &node)?, seconds.transpose()?))
    })
    .map_err(bad_json)?;
    Ok((tenant?, seconds.unwrap_or(PAUSE_SECONDS)))
}

/// The inner error is an unknown tenant, the outer one an invalid body.
fn tenant(context: &Context, node: &Node<'_>) -> Result<Result<TenantKey, Response>, JsonError> {
    match (node.field("tenant")?, node.field("cluster")?) {
        (Some(name), None) => Ok(context.tenant(name.string()?)),
        (None, Some(cluster)) => Ok(context.tenant_of(&json::key(&cluster)?)),
        (Some(_), Some(_)) => Err(node.wrong("has both \"tenant\" and \"cluster\"")),
        (None, None) => Err(node.wrong("has neither \"tenant\" nor \"cluster\"")),
    }
}
