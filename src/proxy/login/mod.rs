//! The identity of a client: AUTH, HELLO, SELECT, RESET, and the permissions of its user.

mod change;
mod order;
mod permit;
mod revoke;
mod session;
mod verify;
