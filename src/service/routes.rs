//! Which calls there are, who may make them, and who answers them.

use std::net::IpAddr;

use crate::metrics::CONTENT_TYPE;

use super::desk::{Answer, Desk, failure, success};
use super::http::{Head, Length, Method, Request, Response};
use super::{clusters, guard, look, steer};

/// One call.
struct Route {
    /// GET stands for HEAD as well.
    method: Method,
    /// `None` is the metrics page, whose path is a setting.
    path: Option<&'static str>,
    body: BodyRule,
    access: Access,
    /// It changes clusters, which the static router does not let anybody do.
    changes_clusters: bool,
    run: fn(&Desk, &Request) -> Result<Answer, Response>,
}

/// Does a call take a body?
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyRule {
    No,
    May,
    Must,
}

/// Who may make a call?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Anybody,
    /// See [`guard`].
    Trusted,
}

const ROUTES: &[Route] = &[
    look_at("/healthz", Access::Anybody, |_, _| {
        let text = r#"{"status":"ok"}"#.to_owned();
        Ok(Answer::Now(Response::json(200, text)))
    }),
    look_at("/readyz", Access::Anybody, look::ready),
    Route {
        path: None,
        ..look_at("", Access::Anybody, |desk, _| {
            let page = desk.office.metrics() + &desk.counters.page();
            Ok(Answer::Now(Response::new(200, CONTENT_TYPE, page)))
        })
    },
    look_at("/list_cluster", Access::Anybody, clusters::list),
    change_cluster(Method::Post, "/add_cluster", BodyRule::Must, clusters::add),
    change_cluster(
        Method::Post,
        "/status_change",
        BodyRule::Must,
        clusters::status_change,
    ),
    change_cluster(Method::Delete, "/cluster", BodyRule::May, clusters::remove),
    look_at("/clients", Access::Trusted, look::clients),
    look_at("/pools", Access::Trusted, look::pools),
    change("/pause", BodyRule::Must, steer::pause),
    change("/resume", BodyRule::Must, steer::resume),
    change("/drain", BodyRule::No, steer::drain),
];

type Run = fn(&Desk, &Request) -> Result<Answer, Response>;

const fn look_at(path: &'static str, access: Access, run: Run) -> Route {
    Route {
        method: Method::Get,
        path: Some(path),
        body: BodyRule::No,
        access,
        changes_clusters: false,
        run,
    }
}

const fn change(path: &'static str, body: BodyRule, run: Run) -> Route {
    Route {
        method: Method::Post,
        body,
        ..look_at(path, Access::Trusted, run)
    }
}

const fn change_cluster(method: Method, path: &'static str, body: BodyRule, run: Run) -> Route {
    Route {
        method,
        changes_clusters: true,
        ..change(path, body, run)
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
    pub(super) fn admit(&self, head: &Head, peer: IpAddr) -> Result<(), Response> {
        self.route(head, peer).map(|_| ())
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: &Request, peer: IpAddr) -> Answer {
        let head = &request.head;
        let outcome = self.route(head, peer).and_then(|route| {
            let outcome = (route.run)(self, request);
            if route.method != Method::Get {
                let status = match &outcome {
                    Ok(Answer::Now(response)) | Err(response) => response.status(),
                    Ok(Answer::Wait { .. }) => 0,
                };
                let (method, path) = (route.method.name(), &head.path);
                log::info!("service port: {method} {path} from {peer}: {status}");
            }
            outcome
        });
        outcome.unwrap_or_else(Answer::Now)
    }

    fn route(&self, head: &Head, peer: IpAddr) -> Result<&'static Route, Response> {
        let here = || {
            let here = |route: &&Route| route.path(self) == Some(&*head.path);
            ROUTES.iter().filter(here)
        };
        let Some(route) = here().find(|route| route.serves(head.method)) else {
            let methods: Vec<&str> = here().map(|route| route.method.name()).collect();
            return Err(self.nowhere(head, &methods));
        };
        if route.access == Access::Trusted {
            guard::check(self.settings.token.as_ref(), head, peer)?;
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
            _ => Ok(route),
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

/// Success without anything to tell.
pub(super) fn done(status: u16) -> Answer {
    Answer::Now(success(status, tinyjson::JsonValue::Null))
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
