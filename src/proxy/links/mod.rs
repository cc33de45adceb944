//! The life of a link: connecting, health checks, migration to another instance, end.

mod connect;
mod end;
mod fence;
mod health;
mod migrate;
mod role;
