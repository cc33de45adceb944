//! The life of a link: it is opened, checked, left for another instance, and ends.

mod connect;
mod end;
mod health;
mod migrate;
mod role;
