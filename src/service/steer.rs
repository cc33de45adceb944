//! What holds traffic up: a tenant is paused and goes on, the process is drained.

use crate::cluster::json::{self, Node};
use crate::cluster::{JsonError, TenantKey};
use crate::proxy::Wanted;

use super::desk::{Answer, Desk};
use super::envelope::success;
use super::guard::Trust;
use super::http::{Request, Response};
use super::input::{bad_json, text};
use super::limits::PAUSE_SECONDS_MAX;

/// Seconds of a pause, if nothing is said of it.
const PAUSE_SECONDS: u64 = 30;

/// `POST /pause`
pub(super) fn pause(desk: &Desk, request: &Request, _: Trust) -> Result<Answer, Response> {
    let (tenant, seconds) = whom(desk, request)?;
    desk.office.pause(&tenant, seconds * 1000);
    until_heard(desk);
    let data = json::object([
        ("tenant", tenant.to_string().into()),
        // Exact: it is a small number.
        ("seconds", (seconds as f64).into()),
    ]);
    Ok(Answer::Now(success(200, data)))
}

/// `POST /resume`
pub(super) fn resume(desk: &Desk, request: &Request, _: Trust) -> Result<Answer, Response> {
    let (tenant, _) = whom(desk, request)?;
    desk.office.resume(&tenant);
    until_heard(desk);
    let data = json::object([("tenant", tenant.to_string().into())]);
    Ok(Answer::Now(success(200, data)))
}

/// `POST /drain`
pub(super) fn drain(desk: &Desk, _: &Request, _: Trust) -> Result<Answer, Response> {
    desk.office.drain();
    Ok(Answer::done(202))
}

/// An answer means that it is so. Workers read their mail in order: who answers a question has read
/// what came before it.
fn until_heard(desk: &Desk) {
    desk.office.survey(&Wanted::Clients(0, None));
}

/// Whom a body speaks of, and for how many seconds.
fn whom(desk: &Desk, request: &Request) -> Result<(TenantKey, u64), Response> {
    let (tenant, seconds) = json::read(text(request)?, |node| {
        for (name, field) in node.fields()? {
            if !["tenant", "cluster", "seconds"].contains(&name) {
                return Err(field.wrong("unknown field; allowed: tenant, cluster, seconds"));
            }
        }
        let seconds = node.field("seconds")?;
        let seconds = seconds.map(|node| node.whole(1, PAUSE_SECONDS_MAX));
        Ok((tenant(desk, &node)?, seconds.transpose()?))
    })
    .map_err(bad_json)?;
    Ok((tenant?, seconds.unwrap_or(PAUSE_SECONDS)))
}

/// The inner error is about a tenant that is not known, the outer one about the text.
fn tenant(desk: &Desk, node: &Node<'_>) -> Result<Result<TenantKey, Response>, JsonError> {
    match (node.field("tenant")?, node.field("cluster")?) {
        (Some(name), None) => Ok(desk.tenant(name.string()?)),
        (None, Some(cluster)) => Ok(desk.tenant_of(&json::key(&cluster)?)),
        (Some(_), Some(_)) => Err(node.wrong("has both \"tenant\" and \"cluster\"")),
        (None, None) => Err(node.wrong("has neither \"tenant\" nor \"cluster\"")),
    }
}
