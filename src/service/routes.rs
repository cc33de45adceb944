//! Which calls there are, who may make them, and who answers them.

use crate::metrics::CONTENT_TYPE;

use super::desk::{Answer, Desk};
use super::envelope::failure;
use super::guard::{self, Caller, Trust};
use super::http::{Head, Length, Method, Request, Response};
use super::{clusters, look, steer};

/// One call.
struct Route {
    /// GET stands for HEAD as well.
    method: Method,
    /// `None` is the metrics page, whose path is a setting.
    path: Option<&'static str>,
    body: BodyRule,
    access: Trust,
    place: Place,
    /// It changes clusters, which the static router does not let anybody do.
    changes_clusters: bool,
    run: Run,
}

/// Where a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// At once, on the thread of the sockets: probes, and what is refused.
    Here,
    /// On the thread that makes the metrics page.
    Page,
    /// On the thread of what may take long: it asks workers, or a registry.
    Call,
}

/// Does a call take a body?
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
    probe("/readyz", look::ready),
    Route {
        path: None,
        place: Place::Page,
        ..look_at("", Trust::Anybody, |desk, _, _| {
            let page = desk.office.metrics() + &desk.counters.page();
            Ok(Answer::Now(Response::new(200, CONTENT_TYPE, page)))
        })
    },
    look_at("/list_cluster", Trust::Anybody, clusters::list),
    add_to_cluster("/add_cluster", clusters::add),
    add_to_cluster("/status_change", clusters::status_change),
    Route {
        method: Method::Delete,
        changes_clusters: true,
        ..change("/cluster", BodyRule::May, clusters::remove)
    },
    look_at("/clients", Trust::Full, look::clients),
    look_at("/pools", Trust::Full, look::pools),
    change("/pause", BodyRule::Must, steer::pause),
    change("/resume", BodyRule::Must, steer::resume),
    change("/drain", BodyRule::No, steer::drain),
];

type Run = fn(&Desk, &Request, Trust) -> Result<Answer, Response>;

const fn probe(path: &'static str, run: Run) -> Route {
    Route {
        place: Place::Here,
        ..look_at(path, Trust::Anybody, run)
    }
}

const fn look_at(path: &'static str, access: Trust, run: Run) -> Route {
    Route {
        method: Method::Get,
        path: Some(path),
        body: BodyRule::No,
        access,
        place: Place::Call,
        changes_clusters: false,
        run,
    }
}

const fn change(path: &'static str, body: BodyRule, run: Run) -> Route {
    Route {
        method: Method::Post,
        body,
        ..look_at(path, Trust::Full, run)
    }
}

const fn add_to_cluster(path: &'static str, run: Run) -> Route {
    Route {
        access: Trust::Adds,
        changes_clusters: true,
        ..change(path, BodyRule::Must, run)
    }
}

impl Route {
    fn serves(&self, method: Method) -> bool {
        self.method == method || (self.method, method) == (Method::Get, Method::Head)
    }

    /// Where it is, if it is anywhere.
    fn path<'a>(&self, desk: &'a Desk) -> Option<&'a str> {
        let metrics = || desk.settings.metrics_path.as_deref();
        self.path.or_else(metrics)
    }
}

impl Desk {
    /// May this request be made, and its body be sent?
    ///
    /// # Errors
    ///
    /// The answer to those who may not.
    pub(super) fn admit(&self, head: &Head, caller: Caller) -> Result<(), Response> {
        let outcome = self.route(head, caller).map(|_| ());
        outcome.inspect_err(|response| note_refusal(response, head, caller))
    }

    /// Where a request is to be answered.
    pub(super) fn place(&self, head: &Head, caller: Caller) -> Place {
        let route = self.route(head, caller);
        route.map_or(Place::Here, |(route, _)| route.place)
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: &Request, caller: Caller) -> Answer {
        let head = &request.head;
        let outcome = self.route(head, caller).and_then(|(route, trust)| {
            let outcome = (route.run)(self, request, trust);
            if route.method != Method::Get {
                let status = match &outcome {
                    Ok(Answer::Now(response)) | Err(response) => response.status(),
                    Ok(Answer::Wait { .. }) => 0,
                };
                let (method, path, peer) = (route.method.name(), &head.path, caller.peer);
                log::info!("service port: {method} {path} from {peer}: {status}");
            }
            outcome
        });
        outcome.unwrap_or_else(|response| {
            note_refusal(&response, head, caller);
            Answer::Now(response)
        })
    }

    /// The call, and how far its caller is trusted.
    fn route(&self, head: &Head, caller: Caller) -> Result<(&'static Route, Trust), Response> {
        let here = || {
            let here = |route: &&Route| route.path(self) == Some(&*head.path);
            ROUTES.iter().filter(here)
        };
        let Some(route) = here().find(|route| route.serves(head.method)) else {
            let methods: Vec<&str> = here().map(|route| route.method.name()).collect();
            return Err(self.nowhere(head, &methods));
        };
        let trust = match route.access {
            Trust::Anybody => Trust::Anybody,
            Trust::Adds | Trust::Full => guard::check(self.settings.token.as_ref(), head, caller)?,
        };
        if trust < route.access {
            return Err(guard::wrong_listener(self.settings.admin));
        }
        if route.changes_clusters && self.settings.fixed {
            return Err(failure(
                409,
                "the static router has one cluster; to change clusters here, start with \
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
            _ => Ok((route, trust)),
        }
    }

    /// The answer where no call is, or none with this method.
    fn nowhere(&self, head: &Head, methods: &[&'static str]) -> Response {
        if methods.is_empty() {
            let known = ROUTES.iter().filter_map(|route| {
                let path = route.path(self)?;
                Some(format!("{} {path}", route.method.name()))
            });
            let known: Vec<String> = known.collect();
            let known = known.join(", ");
            return failure(404, format!("no such path; there are: {known}"));
        }
        let mut allowed = methods.join(", ");
        if methods.contains(&"GET") {
            allowed.push_str(", HEAD");
        }
        let (method, path) = (head.method.name(), &head.path);
        failure(
            405,
            format!("{method} is not for {path}; allowed: {allowed}"),
        )
        .with("Allow", allowed)
    }
}

/// Somebody tries what it may not do. The log leaves lines out if there are many.
fn note_refusal(response: &Response, head: &Head, caller: Caller) {
    if let status @ (401 | 403) = response.status() {
        let (method, path, peer) = (head.method.name(), &head.path, caller.peer);
        log::warn!("service port: refused peer={peer} method={method} path={path} status={status}");
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
