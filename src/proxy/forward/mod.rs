//! Client to link: bytes become requests, which are appended to a link, answered by the proxy, or
//! refused.

pub(in crate::proxy) mod admission;
pub(in crate::proxy) mod answer;
pub(in crate::proxy) mod decode;
mod fairness;
mod partial;
mod pause;
pub(in crate::proxy) mod route;
pub(in crate::proxy) mod run;
