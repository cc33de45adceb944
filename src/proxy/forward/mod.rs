//! Client to link: bytes become requests, and requests go to the queue of a link, are answered
//! here, or are refused.

pub(in crate::proxy) mod admission;
pub(in crate::proxy) mod answer;
pub(in crate::proxy) mod decode;
mod partial;
pub(in crate::proxy) mod route;
pub(in crate::proxy) mod run;
mod turns;
