//! The calls: paths, methods, access, and the functions that answer them.

use crate::metrics::CONTENT_TYPE;

use super::access::{self, Access, Caller};
use super::context::{Answer, Context};
use super::envelope::failure;
use super::http::{Head, Length, Method, Request, Response};
use super::{clusters, inspect, traffic_control};

/// A call.
struct Route {
    /// GET includes HEAD.
    method: Method,
    /// `None`: the metrics page, whose path is a setting.
    path: Option<&'static str>,
    body: BodyRule,
    access: Access,
    thread: Thread,
    /// Changes clusters, which the static router does not allow.
    changes_clusters: bool,
    run: Run,
}

/// The thread that answers a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thread {
    /// The thread of the sockets, which answers probes and refusals at once.
    Port,
    /// The thread that writes the metrics page.
    Page,
    /// The thread for calls that ask workers or the registry.
    Call,
}

/// Whether a call has a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyRule {
    No,
    May,
    Must,
}

const ROUTES: &[Route] = &[
    probe("/healthz", |_, _, _| {
        let text = r#"{"status":"ok"}"#.to_owned();
        Ok(Answer::Now(Response::json(200, text)))
    }),
    probe("/readyz", inspect::ready),
    Route {
        path: None,
        thread: Thread::Page,
        ..read("", Access::All, |context, _, _| {
            let page = context.control.metrics() + &context.counters.page();
            Ok(Answer::Now(Response::new(200, CONTENT_TYPE, page)))
        })
    },
    read("/list_cluster", Access::All, clusters::list),
    add_to_cluster("/add_cluster", clusters::add),
    add_to_cluster("/status_change", clusters::status_change),
    Route {
        method: Method::Delete,
        changes_clusters: true,
        ..change("/cluster", BodyRule::May, clusters::remove)
    },
    read("/clients", Access::Trusted, inspect::clients),
    read("/pools", Access::Trusted, inspect::pools),
    change("/pause", BodyRule::Must, traffic_control::pause),
    change("/resume", BodyRule::Must, traffic_control::resume),
    change("/drain", BodyRule::No, traffic_control::drain),
];

type Run = fn(&Context, &Request, Access) -> Result<Answer, Response>;

const fn probe(path: &'static str, run: Run) -> Route {
    Route {
        thread: Thread::Port,
        ..read(path, Access::All, run)
    }
}

const fn read(path: &'static str, access: Access, run: Run) -> Route {
    Route {
        method: Method::Get,
        path: Some(path),
        body: BodyRule::No,
        access,
        thread: Thread::Call,
        changes_clusters: false,
        run,
    }
}

const fn change(path: &'static str, body: BodyRule, run: Run) -> Route {
    Route {
        method: Method::Post,
        body,
        ..read(path, Access::Trusted, run)
    }
}

const fn add_to_cluster(path: &'static str, run: Run) -> Route {
    Route {
        access: Access::Local,
        changes_clusters: true,
        ..change(path, BodyRule::Must, run)
    }
}

impl Route {
    fn serves(&self, method: Method) -> bool {
        self.method == method || (self.method, method) == (Method::Get, Method::Head)
    }

    /// The path, unless the call is disabled.
    fn path<'a>(&self, context: &'a Context) -> Option<&'a str> {
        let metrics = || context.settings.metrics_path.as_deref();
        self.path.or_else(metrics)
    }
}

impl Context {
    /// Checks whether this request may be made, before its body is received.
    ///
    /// # Errors
    ///
    /// The response that refuses it.
    pub(super) fn admit(&self, head: &Head, caller: Caller) -> Result<(), Response> {
        let outcome = self.route(head, caller).map(|_| ());
        outcome.inspect_err(|response| log_refusal(response, head, caller))
    }

    /// The thread that answers a request.
    pub(super) fn thread(&self, head: &Head, caller: Caller) -> Thread {
        let route = self.route(head, caller);
        route.map_or(Thread::Port, |(route, _)| route.thread)
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: &Request, caller: Caller) -> Answer {
        let head = &request.head;
        let outcome = self.route(head, caller).and_then(|(route, access)| {
            let outcome = (route.run)(self, request, access);
            if route.method != Method::Get {
                let status = match &outcome {
                    Ok(Answer::Now(response)) | Err(response) => response.status(),
                    Ok(Answer::Wait { .. }) => 0,
                };
                let (method, path, peer) = (route.method.name(), &head.path, caller.peer);
                log::info!(
                    "service port: call peer={peer} method={method} path={path} status={status}"
                );
            }
            outcome
        });
        outcome.unwrap_or_else(|response| {
            log_refusal(&response, head, caller);
            Answer::Now(response)
        })
    }

    /// The call of a request, and the access level of its caller.
    fn route(&self, head: &Head, caller: Caller) -> Result<(&'static Route, Access), Response> {
        let here = || {
            let here = |route: &&Route| route.path(self) == Some(&*head.path);
            ROUTES.iter().filter(here)
        };
        let Some(route) = here().find(|route| route.serves(head.method)) else {
            let methods: Vec<&str> = here().map(|route| route.method.name()).collect();
            return Err(self.not_found(head, &methods));
        };
        let access = match route.access {
            Access::All => Access::All,
            Access::Local | Access::Trusted => {
                access::check(self.settings.token.as_ref(), head, caller)?
            }
        };
        if access < route.access {
            return Err(access::wrong_listener(self.settings.admin));
        }
        if route.changes_clusters && self.settings.fixed {
            return Err(failure(
                409,
                "the static router has a fixed cluster; to change clusters, start with \
                 --router.type=sync",
            ));
        }
        let (method, path) = (route.method.name(), &head.path);
        match (route.body, head.length) {
            (BodyRule::Must, Length::None) => {
                Err(failure(411, format!("{method} {path} needs a body")))
            }
            (BodyRule::No, Length::Bytes(1..) | Length::Chunked) => {
                Err(failure(400, format!("{method} {path} takes no body")))
            }
            _ => Ok((route, access)),
        }
    }

    /// The response if there is no call with this path, or none with this method.
    fn not_found(&self, head: &Head, methods: &[&'static str]) -> Response {
        if methods.is_empty() {
            let known = ROUTES.iter().filter_map(|route| {
                let path = route.path(self)?;
                Some(format!("{} {path}", route.method.name()))
            });
            let known: Vec<String> = known.collect();
            let known = known.join(", ");
            return failure(404, format!("no such path; available: {known}"));
        }
        let mut allowed = methods.join(", ");
        if methods.contains(&"GET") {
            allowed.push_str(", HEAD");
        }
        let (method, path) = (head.method.name(), &head.path);
        failure(
            405,
            format!("{method} is not allowed for {path}; allowed: {allowed}"),
        )
        .with("Allow", allowed)
    }
}

/// Logs a refused caller.
fn log_refusal(response: &Response, head: &Head, caller: Caller) {
    if let status @ (401 | 403) = response.status() {
        let (method, path, peer) = (head.method.name(), &head.path, caller.peer);
        log::warn!("service port: refused peer={peer} method={method} path={path} status={status}");
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
